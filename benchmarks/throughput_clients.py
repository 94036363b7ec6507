"""The clients that `teacher_throughput.py` compares.

    python throughput_clients.py CLIENT JOB REPORT

Each runs in a process of its own, and may have a venv of its own: there is no pgkd in it.
JOB is a JSON file: `url`, `concurrency`, `n_requests`, `n_warm_up`, `messages` (a template with
`{id}`). Each function opens a client and returns `ask(ids) -> iterable of (id, answer)`; the answer
must name the id again. REPORT is the JSON file to write.
"""

import gc
import importlib.util
import json
import os
import re
import resource
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

#: Every client asks for the same model. curator and litellm know its price.
MODEL = "gpt-4o-mini"
KEY = "no-key"
ID = re.compile(r"id-\d+")


def pgkd(job):
    from pgkd.records import GenerationRequest
    from pgkd.teachers import OpenAITeacher

    teacher = OpenAITeacher(
        MODEL, base_url=job["url"], api_key=KEY, max_concurrency=job["concurrency"]
    )

    def ask(ids):
        for generation in teacher.generate(Requests(GenerationRequest, ids)):
            texts = [example.text for example in generation.examples]
            yield generation.request.id, " ".join(texts)

    return ask


def openai(job):
    import asyncio

    from openai import AsyncOpenAI

    async def ask_all(ids):
        limit = asyncio.Semaphore(job["concurrency"])
        async with AsyncOpenAI(base_url=job["url"], api_key=KEY) as client:

            async def ask_one(id):
                async with limit:
                    answer = await client.chat.completions.create(
                        model=MODEL, messages=fill(job, id)
                    )
                return id, answer.choices[0].message.content

            answers = await asyncio.gather(*map(ask_one, ids), return_exceptions=True)
        return [answer for answer in answers if not isinstance(answer, BaseException)]

    return lambda ids: asyncio.run(ask_all(ids))


def curator(job):
    # tiktoken would fetch its table from the net; litellm, which curator brings, has it.
    litellm = Path(importlib.util.find_spec("litellm").origin).parent
    os.environ["TIKTOKEN_CACHE_DIR"] = str(litellm / "litellm_core_utils" / "tokenizers")
    from bespokelabs.curator import LLM

    class Asker(LLM):
        def prompt(self, row):
            return fill(job, row["id"])

        def parse(self, row, answer):
            return {"id": row["id"], "answer": answer}

    llm = Asker(
        MODEL,
        backend="openai",
        backend_params={
            "base_url": job["url"],
            "api_key": KEY,
            "max_concurrent_requests": job["concurrency"],
            "max_requests_per_minute": 10**9,
            "max_tokens_per_minute": 10**12,
        },
    )

    def ask(ids):
        for row in llm([{"id": id} for id in ids]).dataset:
            yield row["id"], row["answer"]

    return ask


def distilabel(job):
    from distilabel.models import OpenAILLM

    llm = OpenAILLM(model=MODEL, base_url=job["url"], api_key=KEY)
    llm.load()

    def ask(ids):
        # As its steps do it: batch by batch. A pipeline around it would add processes and files.
        for start in range(0, len(ids), job["concurrency"]):
            batch = ids[start : start + job["concurrency"]]
            outputs = llm.generate_outputs(inputs=[fill(job, id) for id in batch])
            for id, output in zip(batch, outputs):
                yield id, output["generations"][0]

    return ask


def scikit_llm(job):
    from skllm.config import SKLLMConfig
    from skllm.models.gpt.classification.zero_shot import ZeroShotGPTClassifier

    class Asker(ZeroShotGPTClassifier):
        """Gives back the whole answer, where its parent makes a random label of what is none."""

        def _extract_out_label(self, completion, **_):
            return completion.choices[0].message.content

        def validate_prediction(self, label):
            return label

    SKLLMConfig.set_gpt_url(job["url"])
    clf = Asker(model=f"custom_url::{MODEL}", key=KEY, org="none").fit(None, ["card", "transfer"])

    def ask(ids):
        texts = [fill(job, id)[-1]["content"] for id in ids]
        return zip(ids, clf.predict(texts, num_workers=job["concurrency"]))

    return ask


#: Names of clients: the function, and the package whose version is told.
CLIENTS = {
    "pgkd": (pgkd, "pgkd"),
    "openai": (openai, "openai"),
    "curator": (curator, "bespokelabs-curator"),
    "distilabel": (distilabel, "distilabel"),
    "scikit-llm": (scikit_llm, "scikit-llm"),
}


def fill(job, id):
    """Messages of one request."""
    return [
        {"role": message["role"], "content": message["content"].replace("{id}", id)}
        for message in job["messages"]
    ]


def request(record, id):
    """The order that the messages are rendered from: 3 texts for each of two classes."""
    from pgkd.records import Example

    return record(
        id,
        {"card": 3, "transfer": 3},
        examples=tuple(Example(text, label) for label, texts in TEXTS.items() for text in texts),
        task_description="Messages to a bank.",
    )


class Requests(Sequence):
    """Makes each request when it is taken, so that the memory measured is the teacher's own."""

    def __init__(self, record, ids):
        self.record, self.ids = record, ids

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, i):
        return request(self.record, self.ids[i])


TEXTS = {
    "card": [
        "My card was declined at the supermarket yesterday, what should I do now?",
        "when will the new card that I ordered last week get here",
        "The machine has kept my card and I am travelling tomorrow.",
        "Can I add my card to the phone before it comes in the post?",
    ],
    "transfer": [
        "I sent money to a friend two days ago and it is still not there.",
        "How long does a transfer to another country take?",
        "i typed the wrong account number, can the transfer be stopped",
        "Why was there a fee on the transfer that I made this morning?",
    ],
}


def cpu_seconds():
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def peak_mib():
    """The most memory that this process had. `ru_maxrss` would start with its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(name, job_file, report_file):
    job = json.loads(Path(job_file).read_text())
    connect, package = CLIENTS[name]
    ask = connect(job)
    ids = [f"id-{n:06}" for n in range(job["n_warm_up"] + job["n_requests"])]
    # Lazy imports are done, and the code is warm, when the clock starts.
    warm = sum(1 for _ in ask(ids[: job["n_warm_up"]]))
    assert warm == job["n_warm_up"], f"{warm} answers of the warm-up"
    ids = ids[job["n_warm_up"] :]
    gc.collect()  # the first long one, over all that was imported, would come in the first requests
    mib, cpu, start = peak_mib(), cpu_seconds(), time.perf_counter()
    counts, foreign = dict.fromkeys(ids, 0), 0
    for id, answer in ask(ids):
        own = set(ID.findall(answer or "")) == {id}
        counts[id] += own
        foreign += not own
    report = {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": cpu_seconds() - cpu,
        "peak_mib": peak_mib(),
        "peak_mib_before": mib,
        "lost": sum(count == 0 for count in counts.values()),
        "doubled": sum(count > 1 for count in counts.values()),
        "foreign": foreign,
        "version": version(package),
    }
    Path(report_file).write_text(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
