"""What a million texts cost: students on a rented machine, and LLMs by the token.

    python benchmarks/cost.py [--machine m5a.large] [--machine-price 0.086]
        [--price-source URL] [--price-date 2026-11-24] [--llms openai:gpt-5-mini ...]

Nothing is run: the speeds, and the tokens that an LLM takes for a text of banking77 (prompts of
pgkd's annotator, all 77 classes, counted by Qwen's tokenizer), are the medians of
results/inference_avx2.jsonl. The machine is busy all the time. Prices of LLMs are those of the
installed genai-prices, without discounts for batches or cached prompts, which take half and up to
nine tenths off; the price of the machine is the argument, by default AWS on demand, N. Virginia,
Linux: the first generation of EPYC, on which those speeds were measured.

The paper's figures (arXiv 2411.05045, Table 5) are for a batch of 64 texts of about 1,000 tokens,
fifty times as long as these: compare the ratios, not the dollars.
"""

import argparse
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
from common import RESULTS, append, make_table, read_rows
from genai_prices import Usage, calc_price
from inference import NAMES

#: US dollars an hour, and where that is from.
MACHINE = ("AWS m5a.large (2 vCPUs, 8 GiB), on demand, us-east-1", 0.086)
SOURCE = "https://aws.amazon.com/ec2/pricing/on-demand/, as copied into public price lists"
LLMS = [
    "openai:gpt-5-mini",
    "openai:gpt-6-luna",
    "anthropic:claude-haiku-5-5",
    "anthropic:claude-sonnet-5-5",
    "google:gemini-3.5-flash-lite",
    "anthropic:claude-3-sonnet",
    "together:meta-llama/Meta-Llama-3-8B-Instruct-Lite",
]
STUDENTS = ["torch", "onnxruntime", "onnxruntime_int8", "openvino", "openvino_bf16"]
STUDENTS += ["embedding_onnxruntime", "static_exported", "tfidf"]
#: The paper's Table 5: US dollars and seconds for 64 texts.
PAPER = {
    "BERT-base on a GPU": (0.0107, 0.46),
    "BERT-base on a CPU": (0.0046, 21.45),
    "Claude 3 Sonnet": (0.38, 60.64),
    "LLaMA 3 8B": (0.06, None),
}
N_PAPER = 64


def price_students(rows, dollars_per_hour):
    for name in STUDENTS:
        if own := [row["texts_per_second"] for row in rows if row["engine"] == name]:
            rate = float(np.median(own))
            yield {
                "what": NAMES[name],
                "dollars": 1e6 / rate / 3600 * dollars_per_hour,
                "texts_per_second": rate,
            }


def price_llms(llms, tokens):
    for entry in llms:
        provider, model = entry.split(":", 1)
        usage = Usage(input_tokens=round(tokens[0]), output_tokens=round(tokens[1]))
        try:
            # A text at a time: prices may depend on a request's length.
            price = calc_price(usage, model_ref=model, provider_id=provider)
        except LookupError as error:
            print(f"{entry} is left out: {error}")
            continue
        yield {
            "what": model,
            "dollars": 1e6 * float(price.total_price),
            "source": (price.provider.pricing_urls or ["genai-prices"])[0],
        }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--machine", default=MACHINE[0])
    parser.add_argument(
        "--machine-price", type=float, default=MACHINE[1], help="US dollars an hour"
    )
    parser.add_argument("--price-source", default=SOURCE)
    parser.add_argument("--price-date", default="2026-11-24")
    parser.add_argument("--llms", nargs="+", default=LLMS, metavar="PROVIDER:MODEL")
    parser.add_argument("--inference", type=Path, default=RESULTS / "inference_avx2.jsonl")
    parser.add_argument("--results", type=Path, default=RESULTS / "cost.jsonl")
    args = parser.parse_args()

    rows = read_rows(args.inference)
    asked = [row for row in rows if row["engine"] == "llm"]
    if not asked:
        raise SystemExit(f"No row of the engine 'llm' in {args.inference}: run inference.py first.")
    tokens = [np.median([r[f"{kind}_tokens"] for r in asked]) for kind in ("input", "output")]

    students = list(price_students(rows, args.machine_price))
    llms = list(price_llms(args.llms, tokens))
    local = float(np.median([row["texts_per_second"] for row in asked]))
    llms.append(
        {
            "what": f"{NAMES['llm']}, the same machine",
            "dollars": 1e6 / local / 3600 * args.machine_price,
            "texts_per_second": local,
        }
    )
    paper = [
        {
            "what": f"the paper's {name}",
            "dollars": dollars / N_PAPER * 1e6,
            "texts_per_second": seconds and N_PAPER / seconds,
        }
        for name, (dollars, seconds) in PAPER.items()
    ]
    prices = {
        "machine": args.machine,
        "dollars_per_hour": args.machine_price,
        "machine_source": args.price_source,
        "machine_date": args.price_date,
        "llm_source": f"genai-prices {version('genai-prices')}",
        "llm_date": str(date.today()),
        "tokens_per_text": tokens,
    }
    print(
        f"\nMachine: {args.machine}, ${args.machine_price} an hour ({args.price_source}; "
        f"{args.price_date}). LLMs: {prices['llm_source']}, prices that hold on "
        f"{prices['llm_date']}: "
        + ", ".join(dict.fromkeys(row["source"] for row in llms if "source" in row))
        + f". A text takes {tokens[0]:.0f} tokens of prompt and {tokens[1]:.0f} of answer."
    )
    row = {**prices, "students": students, "llms": llms, "paper": paper}
    print(f"\n{tabulate(row)}\n\n{tabulate_paper(row)}")
    if row not in read_rows(args.results):
        append(args.results, row)


def tabulate(found):
    reference = min(row["dollars"] for row in found["llms"])
    return list_prices(
        "of 12 words", "cheapest LLM ÷", found["students"] + found["llms"], reference
    )


def tabulate_paper(found):
    reference = found["paper"][2]["dollars"]
    return list_prices("of 1,000 tokens", "Claude 3 Sonnet ÷", found["paper"], reference)


def list_prices(what, ratio, rows, reference):
    lines = []
    for row in rows:
        rate = row.get("texts_per_second")
        cells = [show(row["dollars"]), show(reference / row["dollars"]), show(rate) if rate else ""]
        lines.append([row["what"], *cells])
    return make_table([what, "US dollars for a million texts", ratio, "texts/s"], lines)


def show(value):
    """Three digits, without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()
