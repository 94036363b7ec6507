"""What `test_hostile.py` starts: spoils what was saved or exported, and loads it.

Each attack is a fork of this process, which has imported everything, so that its time and memory
can be told from those of the imports; a fork that crashes or hangs takes no other with it.
"""

import io
import json
import os
import pickle
import resource
import shutil
import signal
import struct
import sys
import time
import traceback
import warnings
import zipfile
from pathlib import Path

import numpy as np
import onnx
import scipy.stats
import skops.io
from onnx import numpy_helper
from safetensors.numpy import load_file, save_file
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC
from students.tiny_bert import write_texts, write_tiny_bert
from students.tiny_static import write_tiny_static

import pgkd.runtime
from pgkd import PGKDClassifier
from pgkd.students import EmbeddingStudent, StaticStudent, TransformerStudent

TEXTS, LABELS = write_texts()
#: Seconds after which a fork is killed: it hangs.
PATIENCE = 120
MEGABYTE = 2**20


class Evil:
    """Its pickle, and code that an artefact names, would leave a file."""

    def __reduce__(self):
        return os.mkdir, (str(marker()),)


def marker():
    return Path(os.environ["PGKD_TEST_MARKER"])


def write_code(directory):
    (directory / "evil.py").write_text(
        f"import os\nos.mkdir({str(marker())!r})\nclass Evil: pass\n"
    )


def make_all(folder):
    """Save and export one of each kind."""
    bert = write_tiny_bert(folder / "bert")
    students = {
        "sklearn": make_pipeline(CountVectorizer(), LogisticRegression()),
        "static": StaticStudent(write_tiny_static(folder / "vectors"), max_length=16),
        "embedding": EmbeddingStudent(bert, max_length=12),
        "transformer": TransformerStudent(bert, n_epochs=1, max_length=12, random_state=0),
    }
    for name, student in students.items():
        clf = PGKDClassifier(student=student, routes=(), random_state=0).fit(TEXTS, LABELS)
        clf.save(folder / name)
        if name == "static":
            clf.export(folder / "numpy")
        if name == "embedding":
            for format in ("onnx", "openvino"):
                clf.export(folder / format, format=format)
    sets = [[label] if i % 2 else [label, "card"] for i, label in enumerate(LABELS)]
    student = StaticStudent(folder / "vectors", max_length=16)
    PGKDClassifier(student=student, routes=(), random_state=0).fit(TEXTS, sets).save(
        folder / "sets"
    )


def load(kind, directory):
    if kind in ("numpy", "onnx", "openvino"):
        engine = "onnxruntime" if kind == "onnx" else kind
        return pgkd.runtime.load(directory, engine=engine)
    return PGKDClassifier.load(directory)


# Ways to spoil.


def edit(file="pgkd.json", **changes):
    """Change fields; a name with `__` is a path to one."""

    def spoil(directory):
        path = directory / file
        document = json.loads(path.read_text(encoding="utf-8"))
        for name, value in changes.items():
            *outer, last = name.split("__")
            part = document
            for key in outer:
                part = part.setdefault(key, {}) if part.get(key) is None else part[key]
            part[last] = value(part.get(last)) if callable(value) else value
        path.write_text(json.dumps(document))

    return spoil


def write(file, data):
    def spoil(directory):
        path = directory / file
        path.unlink(missing_ok=True)
        path.write_bytes(data() if callable(data) else data)

    return spoil


def enlarge(file, size):
    """Make a file large, on a disk that stores no zeros."""
    return lambda directory: os.truncate(directory / file, size)


def link(file, target):
    def spoil(directory):
        place = target(directory) if callable(target) else target
        if not Path(place).exists():
            shutil.copytree(directory / file, place) if (directory / file).is_dir() else (
                shutil.copy(directory / file, place)
            )
        path = directory / file
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        path.symlink_to(place)

    return spoil


def pipe(file):
    def spoil(directory):
        (directory / file).unlink(missing_ok=True)
        os.mkfifo(directory / file)

    return spoil


def folder(file):
    def spoil(directory):
        (directory / file).unlink()
        (directory / file).mkdir()

    return spoil


def pack(file, members, compression=zipfile.ZIP_STORED):
    """Write an archive."""

    def spoil(directory):
        with zipfile.ZipFile(directory / file, "w", compression) as archive:
            for name, data in members().items():
                archive.writestr(name, data)

    return spoil


def repack(file, change=lambda name, data: (name, data), compression=zipfile.ZIP_STORED):
    """Write an archive anew, with members changed."""

    def spoil(directory):
        with zipfile.ZipFile(directory / file) as archive:
            members = [change(name, archive.read(name)) for name in archive.namelist()]
        with zipfile.ZipFile(directory / file, "w", compression) as archive:
            for name, data in members:
                archive.writestr(name, data)

    return spoil


def array(name, make):
    """Put another array in the place of one of an .npz."""

    def change(member, data):
        if member != f"{name}.npy":
            return member, data
        made = make(np.load(io.BytesIO(data)))
        if isinstance(made, bytes):
            return member, made
        file = io.BytesIO()
        np.save(file, made)
        return member, file.getvalue()

    return repack("model.npz", change)


def lie(shape, descr="<f4"):
    """An array that says to be of a shape, and has one number."""
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}"
    header = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + b"\0" * 4


def tensors(file, change):
    """Change the tensors of a file of safetensors."""

    def spoil(directory):
        found = {name: value.copy() for name, value in load_file(directory / file).items()}
        save_file(change(found), directory / file, metadata={"format": "pt"})

    return spoil


def fill(name, value):
    def change(found):
        key = next(key for key in found if name in key)
        found[key].reshape(-1)[0] = value
        return found

    return change


def header(file, change):
    """Change the header of a file of safetensors, and leave its numbers."""

    def spoil(directory):
        data = (directory / file).read_bytes()
        n = int.from_bytes(data[:8], "little")
        changed = change(data[8 : 8 + n])
        (directory / file).write_bytes(len(changed).to_bytes(8, "little") + changed + data[8 + n :])

    return spoil


def reshape(data):
    document = json.loads(data)
    name = next(name for name in document if name != "__metadata__")
    document[name]["shape"] = [10**6, 10**6]
    return json.dumps(document).encode()


def overlap(data):
    document = json.loads(data)
    for name in document:
        if name != "__metadata__":
            document[name]["data_offsets"] = [0, 4]
    return json.dumps(document).encode()


SKOPS = "student/student.skops"


def dump(make):
    """Write another estimator, which the attacker need not be able to load."""
    return lambda directory: skops.io.dump(make(), directory / SKOPS)


def fit(*steps):
    return make_pipeline(*steps).fit(TEXTS, LABELS)


def forge(change, *steps):
    def make():
        student = fit(*(steps or (CountVectorizer(), LogisticRegression())))
        change(student)
        return student

    return dump(make)


def schema(change):
    """Change what a file of skops says of itself."""

    def change_member(name, data):
        if name != "schema.json":
            return name, data
        document = json.loads(data)
        return name, json.dumps(change(document) or document)

    return repack(SKOPS, change_member)


def node(loader, of, **content):
    module, _, name = of.rpartition(".")
    return {"__class__": name, "__module__": module, "__loader__": loader, **content}


def put(made):
    """Put a node in the place of the regularisation."""

    def change(document):
        steps = document["content"]["content"]["steps"]["content"]
        steps[1]["content"][1]["content"]["content"]["C"] = made

    return schema(change)


def refer_over_and_over(depth=40):
    made = node("ListNode", "builtins.list", __id__=1, content=[])
    for i in range(2, depth):
        again = node("ListNode", "builtins.list", __id__=i - 1, content=[])
        made = node("ListNode", "builtins.list", __id__=i, content=[made, again])
    return made


def graph(change):
    """Change a graph of ONNX."""

    def spoil(directory):
        model = onnx.load(directory / "model.onnx")
        change(model)
        (directory / "model.onnx").write_bytes(model.SerializeToString())

    return spoil


def read_elsewhere(place):
    def change(model):
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=place)

    return graph(change)


def ask_for_code(model):
    model.graph.node[0].domain = "evil"
    model.opset_import.add(domain="evil", version=1)


def spoil_weights(model):
    tensor = next(t for t in model.graph.initializer if t.data_type == 1 and len(t.dims) == 2)
    weights = numpy_helper.to_array(tensor).copy()
    weights[:] = np.nan
    tensor.CopyFrom(numpy_helper.from_array(weights, tensor.name))


ENTITIES = "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi"))
DOCTYPE = (
    f'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">{ENTITIES}<!ENTITY f SYSTEM "file:///etc/passwd">]>'
)


def add_entities(directory):
    path = directory / "openvino_model.xml"
    _, _, rest = path.read_text().partition("<net name=")
    path.write_text(f'<?xml version="1.0"?>{DOCTYPE}<net name="&i;&f;"{rest.partition(" ")[2]}')


def spoil_layers(directory):
    path = directory / "openvino_model.xml"
    path.write_text(path.read_text().replace('offset="', 'offset="99999999999', 1))


def add_pickle(directory):
    (directory / "student" / "model.safetensors").unlink()
    (directory / "student" / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))


def name_code(directory):
    """As sentence-transformers and transformers have it."""
    inner = directory / "student" / "encoder"
    modules = [{"idx": 0, "name": "0", "path": "", "type": "evil.Evil"}]
    (inner / "modules.json").write_text(json.dumps(modules))
    write_code(inner)
    write_code(directory)


def make_sparse(n):
    """A sparse matrix that is almost all zeros, and small on disk."""
    import scipy.sparse

    file = io.BytesIO()
    matrix = scipy.sparse.csr_matrix((1, 1))
    matrix.data, matrix.indices = np.zeros(n), np.zeros(n, np.int32)
    matrix.indptr = np.array([0, n], np.int32)
    scipy.sparse.save_npz(file, matrix)
    return file.getvalue()


def add_bomb(directory):
    with zipfile.ZipFile(directory / SKOPS, "a") as archive:
        archive.writestr("1.npz", make_sparse(30_000_000))


def add_negative_index(student):
    student[0].vocabulary_["card"] = -(2**30)


def nest(n):
    return lambda: b"[" * n


def many_values(n):
    return lambda: b"[" + b"[]," * n + b"[]]"


def pickle_array():
    file = io.BytesIO()
    np.save(file, np.array([Evil()], dtype=object))
    return file.getvalue()


def add_large(file):
    def spoil(directory):
        (directory / file).touch()
        os.truncate(directory / file, 500 * MEGABYTE)

    return spoil


def link_hard(directory):
    outside = directory.with_name(f"{directory.name}-outside")
    outside.write_text("root:x:0:0")
    (directory / "synthetic.jsonl").unlink()
    os.link(outside, directory / "synthetic.jsonl")


CONFIG = "student/config.json"
WEIGHTS = "student/model.safetensors"
TOKENIZER = "student/tokenizer.json"
ENCODER = "student/encoder"
NAN = float("nan")
DAMAGED = "is damaged"
ELSEWHERE = f"{DAMAGED}|install onnxruntime 1.24"  # which refuses it itself
SPLIT = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
HOT = {"type": "WordLevel", "vocab": {"[UNK]": 10**6}, "unk_token": "[UNK]"}

#: Name: kind, how to spoil it, and what the error says; None where it does no harm.
ATTACKS = {
    # What is no file, or not of the folder.
    "link to a file outside": ("sklearn", link("synthetic.jsonl", "/etc/passwd"), "leads out of"),
    "link to a folder outside": (
        "sklearn",
        link("student", lambda d: d.with_name(f"{d.name}-elsewhere")),
        "leads out of",
    ),
    "link to a device": ("sklearn", link("synthetic.jsonl", "/dev/zero"), "neither a file nor"),
    "link to nowhere": (
        "sklearn",
        lambda d: (d / "student" / "x").symlink_to(d / "nowhere"),
        "cannot be read",
    ),
    "links in a circle": (
        "embedding",
        lambda d: (d / ENCODER / "x.json").symlink_to(d / ENCODER / "x.json"),
        "cannot be read",
    ),
    "link to the folder above": (
        "sklearn",
        lambda d: (d / "student" / "x").symlink_to(d.parent),
        "leads out of",
    ),
    "link inside of the folder": (
        "sklearn",
        link("synthetic.jsonl", lambda d: d / "texts"),
        None,
    ),
    "pipe for the document": ("sklearn", pipe("pgkd.json"), "is not a saved classifier"),
    "pipe for the texts": ("sklearn", pipe("synthetic.jsonl"), "neither a file nor"),
    "pipe for an estimator": ("sklearn", pipe(SKOPS), "neither a file nor"),
    "pipe for a tokenizer": ("onnx", pipe("tokenizer.json"), "neither a file nor"),
    "pipe beside all": ("numpy", pipe("x"), "neither a file nor"),
    "hard link": ("sklearn", link_hard, "Expecting value"),
    "folder for the texts": ("sklearn", folder("synthetic.jsonl"), "directory"),
    "folder for an estimator": ("sklearn", folder(SKOPS), "directory"),
    "folder for arrays": ("numpy", folder("model.npz"), "it is no file"),
    "folder for tensors": ("transformer", folder(WEIGHTS), DAMAGED),
    "20,000 files": (
        "sklearn",
        lambda d: [(d / "student" / str(i)).touch() for i in range(20_000)],
        "more files than any model",
    ),
    # Documents.
    "nested a million times": ("sklearn", write("pgkd.json", nest(10**6)), "pgkd.json"),
    "nested 100,000 times": ("sklearn", write("pgkd.json", nest(10**5)), "nested too deeply"),
    "nested texts": ("sklearn", write("synthetic.jsonl", nest(10**5)), "nested too deeply"),
    "nested student": ("static", write("student/student.json", nest(10**5)), "nested too deeply"),
    "nested export": ("onnx", write("pgkd.json", nest(10**5)), "nested too deeply"),
    "nested config": ("transformer", write(CONFIG, nest(10**5)), "nested too deeply"),
    "200 MB": ("sklearn", enlarge("pgkd.json", 200 * MEGABYTE), "134,217,728 are the most"),
    "200 MB of an export": ("numpy", enlarge("pgkd.json", 200 * MEGABYTE), "are the most"),
    "many values": ("sklearn", write("pgkd.json", many_values(20_000_000)), "values, and"),
    "many texts": ("sklearn", enlarge("synthetic.jsonl", 2**30), "268,435,456 are the most"),
    "many values of a text": (
        "sklearn",
        write("synthetic.jsonl", many_values(20_000_000)),
        "values, and",
    ),
    "a number of a million digits": ("sklearn", write("pgkd.json", b"1" * 10**6), "digits"),
    "no Unicode": ("sklearn", write("pgkd.json", b'{"format": "\xff\xfe'), "decode"),
    "a newer format": ("sklearn", edit(format=10**6), "upgrade pgkd"),
    "a format that is none": ("sklearn", edit(format="9" * 100), DAMAGED),
    "a writer that is none": ("sklearn", edit(writer=["export"]), None),
    "a run_dir": ("sklearn", edit(params__run_dir="/etc"), "`save` never writes"),
    "a teacher": ("sklearn", edit(params__teacher="x"), "`save` never writes"),
    # Names of code.
    "a module of Python's": ("sklearn", edit(student="os:mkdir"), "none of pgkd's"),
    "a module of pgkd's": (
        "sklearn",
        edit(student="pgkd.testing.fault_server.__main__:EmbeddingStudent"),
        "no saved student",
    ),
    "a path as a module": ("sklearn", edit(student="../evil:Evil"), "none of pgkd's"),
    "another student's class": ("static", edit(student="pgkd.students.embedding:X"), "none of"),
    "modules of sentence-transformers": ("embedding", name_code, None),
    "auto_map": (
        "transformer",
        edit(CONFIG, auto_map={"AutoConfig": "evil.Evil"}),
        "'auto_map', which",
    ),
    "auto_map of a tokenizer": (
        "transformer",
        edit("student/tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Evil", None]}),
        "'auto_map', which",
    ),
    "kernels of the hub": (
        "transformer",
        edit(CONFIG, attn_implementation="evil/kernels"),
        "'attn_implementation', which",
    ),
    "a tokenizer's file elsewhere": (
        "transformer",
        edit("student/tokenizer_config.json", vocab_file="/etc/passwd"),
        "'vocab_file', which",
    ),
    "an adapter of another model": (
        "transformer",
        write("student/adapter_config.json", b'{"base_model_name_or_path": "/etc"}'),
        "names a model elsewhere",
    ),
    "a pickle of torch": ("transformer", add_pickle, DAMAGED),
    "weights at a path": (
        "transformer",
        write("student/model.safetensors.index.json", b'{"weight_map": {"a": "../../x"}}'),
        "which is a path",
    ),
    "an encoder elsewhere": (
        "embedding",
        edit("student/student.json", is_whole=False, params__model="evil/encoder"),
        "was kept for a run",
    ),
    "no encoder": ("static", lambda d: shutil.rmtree(d / ENCODER), "no file"),
    # Numbers out of range.
    "temperature 0": ("sklearn", edit(calibration__temperature=0.0), "temperature is not in"),
    "temperature NaN": ("sklearn", edit(calibration__temperature=NAN), "temperature is not in"),
    "temperature -1": ("onnx", edit(temperature=-1.0), "temperature is not in"),
    "temperature of an export": ("onnx", edit(temperature=NAN), "temperature is not in"),
    "threshold 7": ("onnx", edit(threshold=7.0), "threshold is not in"),
    "threshold that is none": ("onnx", edit(threshold="0.5"), "threshold is not in"),
    "label threshold NaN": ("sets", edit(label_thresholds=lambda t: [NAN] * len(t)), "not in"),
    "a label threshold too few": ("sets", edit(label_thresholds=lambda t: t[1:]), "thresholds for"),
    "no label thresholds": ("sets", edit(label_thresholds=None), "several and none"),
    "max_length -1": ("numpy", edit(max_length=-1), DAMAGED),
    "max_length of a student": (
        "static",
        edit("student/student.json", params__max_length=-1),
        "'max_length' parameter",
    ),
    # Classes.
    "a class twice": ("sklearn", edit(classes=["card", "card", "pin"]), "different labels"),
    "no classes": ("onnx", edit(classes=[]), "different labels"),
    "a class too many": ("onnx", edit(classes=["a", "b", "c", "d"]), "probabilities|broadcast"),
    "a class too few": ("numpy", edit(classes=["a", "b"]), "no probabilities of 2"),
    "a student of other classes": ("sklearn", edit(classes=["a", "b", "c"]), "has classes that"),
    "a student's class too many": (
        "embedding",
        edit("student/student.json", classes=["card", "pin", "rate", "x"]),
        "no probabilities of 4",
    ),
    "classes that are none": ("numpy", edit(classes=[[1], {}, None]), "different labels"),
    "classes of 40 GB": ("sklearn", edit(classes_dtype="<U3000000000"), DAMAGED),
    "classes that are objects": ("sklearn", edit(classes_dtype="M8[s]"), "different labels"),
    "a kind of labels": ("sklearn", edit(target_kind="evil"), "target_kind is 'evil'"),
    # Archives.
    "no archive": ("sklearn", write(SKOPS, b"PK\5\6"), "zip"),
    "a bomb": (
        "sklearn",
        pack(SKOPS, lambda: {"schema.json": b" " * 300 * MEGABYTE}, zipfile.ZIP_DEFLATED),
        "unpack to more",
    ),
    "a bomb of arrays": (
        "numpy",
        pack(
            "model.npz",
            lambda: {f"{name}.npy": b"\0" * 100 * MEGABYTE for name in ("vectors", "bias")},
            zipfile.ZIP_DEFLATED,
        ),
        "unpack to more",
    ),
    "a compressed member": (
        "sklearn",
        repack(SKOPS, compression=zipfile.ZIP_DEFLATED),
        "unpack to more|is compressed",
    ),
    "a bomb in a bomb": ("sklearn", add_bomb, "unpack to more"),
    "a member at a path": (
        "numpy",
        repack("model.npz", lambda name, data: (f"../{name}", data)),
        "is a path",
    ),
    "a member at an absolute path": (
        "sklearn",
        repack(SKOPS, lambda name, data: (f"/tmp/{name}", data)),
        "is a path",
    ),
    "a nested schema": ("sklearn", pack(SKOPS, lambda: {"schema.json": nest(10**5)()}), "nested"),
    "a schema of many values": (
        "sklearn",
        pack(SKOPS, lambda: {"schema.json": many_values(20_000_000)()}),
        "values, and",
    ),
    "400,000 members": (
        "sklearn",
        pack(SKOPS, lambda: {f"{'x' * 40}{i}": b"" for i in range(200_000)}),
        "too many members",
    ),
    "objects in an array": (
        "numpy",
        array("bias", lambda a: pickle_array()),
        "its array 'bias.npy' is none",
    ),
    "an array that lies": ("numpy", array("vectors", lambda a: lie((10**6, 10**6))), "is none"),
    "an array of nothing": ("numpy", array("bias", lambda a: lie((10**18,), "<U0")), "is none"),
    "an array of texts": ("numpy", array("bias", lambda a: np.array(["a", "b", "c"])), DAMAGED),
    "vectors that are NaN": ("numpy", array("vectors", lambda a: a * NAN), "no numbers"),
    "a head that is infinite": ("numpy", array("weights", lambda a: a + np.inf), "no number"),
    "a head of another shape": ("numpy", array("weights", lambda a: a[:, :3]), "another shape"),
    "a vector too few": ("numpy", array("vectors", lambda a: a[:-1]), "vectors, and token"),
    # Estimators.
    "a type that is none of ours": (
        "sklearn",
        forge(lambda s: s[1].set_params(C=scipy.stats.norm)),
        "scipy.stats._continuous_distns.norm_gen",
    ),
    "a function": (
        "sklearn",
        dump(lambda: fit(CountVectorizer(tokenizer=os.path.split), LogisticRegression())),
        "not trusted by default",
    ),
    "a method": (
        "sklearn",
        put(
            node(
                "MethodNode",
                "sklearn.linear_model._logistic.LogisticRegression",
                content={
                    "func": "fit",
                    "obj": node("ObjectNode", "sklearn.linear_model._logistic.LogisticRegression"),
                },
            )
        ),
        "not trusted by default",
    ),
    "a partial in disguise": (
        "sklearn",
        put(
            node(
                "PartialNode",
                "sklearn.metrics._scorer._Scorer",
                content={
                    "func": node("FunctionNode", "sklearn.metrics._classification.f1_score"),
                    **{
                        name: node("TupleNode", "builtins.tuple", content=[])
                        for name in ("args", "kwds", "namespace")
                    },
                },
            )
        ),
        "must not be made by 'PartialNode'",
    ),
    "a call in disguise": (
        "sklearn",
        put(
            node(
                "ConstructorFromReduceNode",
                "sklearn.metrics._classification.accuracy_score",
                content=node("TupleNode", "builtins.tuple", content=[]),
            )
        ),
        "must not be made by 'Constructor",
    ),
    "a list in disguise": (
        "sklearn",
        put(node("ListNode", "sklearn.metrics._classification.accuracy_score", content=[])),
        "must not be made by 'ListNode'",
    ),
    "parts that refer over and over": ("sklearn", put(refer_over_and_over()), "refer to others"),
    "texts that are files": (
        "sklearn",
        forge(lambda s: s[0].set_params(input="filename")),
        "take texts for files",
    ),
    "a cache": ("sklearn", forge(lambda s: s.set_params(memory="/tmp")), "read a cache"),
    "words beyond the matrix": (
        "sklearn",
        forge(lambda s: s[0].vocabulary_.update(card=2**30)),
        "point outside",
    ),
    "words before the matrix": ("sklearn", forge(add_negative_index), "point outside"),
    "weights that are NaN": ("sklearn", forge(lambda s: s[1].coef_.fill(NAN)), "no number"),
    "one weight that is infinite": (
        "sklearn",
        forge(lambda s: s[1].coef_.__setitem__((0, 0), np.inf)),
        "no number",
    ),
    "weights of another shape": (
        "sklearn",
        forge(lambda s: setattr(s[1], "coef_", s[1].coef_[:, :2])),
        DAMAGED,
    ),
    "support vectors that are not there": (
        "sklearn",
        forge(
            lambda s: setattr(s[1], "_n_support", np.full(3, 10**8, np.int32)),
            CountVectorizer(),
            SVC(),
        ),
        "point outside",
    ),
    "columns that are not there": (
        "sklearn",
        forge(lambda s: s[1].support_vectors_.indices.fill(2**30), CountVectorizer(), SVC()),
        "(indices|index values) must be",
    ),
    "neighbours of no class": (
        "sklearn",
        forge(
            lambda s: s[1]._y.fill(2**30),
            CountVectorizer(),
            KNeighborsClassifier(algorithm="brute"),
        ),
        "point outside",
    ),
    # Tensors.
    "a header of 10 EB": ("transformer", write(WEIGHTS, b"\xff" * 7 + b"\x7f{}"), "its header has"),
    "a header of nothing": ("transformer", write(WEIGHTS, b"\x10" + b"\0" * 7), "header is none"),
    "a header of many values": (
        "static",
        header("student/encoder/model.safetensors", lambda data: many_values(3_000_000)()),
        "header is none.*values",
    ),
    "a shape of 4 TB": ("transformer", header(WEIGHTS, reshape), DAMAGED),
    "offsets that overlap": ("transformer", header(WEIGHTS, overlap), DAMAGED),
    "offsets of vectors": (
        "static",
        header("student/encoder/model.safetensors", reshape),
        "cannot be read",
    ),
    "a tensor that is NaN": ("transformer", tensors(WEIGHTS, fill("query", NAN)), "no numbers"),
    "a tensor that is infinite": (
        "embedding",
        tensors(f"{ENCODER}/model.safetensors", fill("query", np.inf)),
        "no numbers",
    ),
    "a vector that is NaN": (
        "static",
        tensors(f"{ENCODER}/model.safetensors", fill("embeddings", NAN)),
        "no numbers",
    ),
    "vectors of one dimension": (
        "static",
        tensors(f"{ENCODER}/model.safetensors", lambda t: {"embeddings": t["embeddings"][0]}),
        DAMAGED,
    ),
    "a foreign tensor": (
        "transformer",
        tensors(WEIGHTS, lambda t: {**t, "evil.weight": np.zeros(3, np.float32)}),
        "unexpected_keys.*evil.weight",
    ),
    "a tensor too few": (
        "transformer",
        tensors(WEIGHTS, lambda t: {k: v for k, v in t.items() if k != "classifier.weight"}),
        "missing_keys.*classifier.weight",
    ),
    "a tensor of another shape": (
        "transformer",
        tensors(WEIGHTS, lambda t: {**t, "classifier.weight": np.zeros((9, 9), np.float32)}),
        DAMAGED,
    ),
    "layers without weights": ("transformer", edit(CONFIG, num_hidden_layers=10**9), "weights"),
    "a width of 10^9": ("transformer", edit(CONFIG, hidden_size=10**9), DAMAGED),
    "a model of another kind": ("transformer", edit(CONFIG, model_type="evil"), DAMAGED),
    # Tokenizers.
    "a tokenizer of 500 MB": ("transformer", enlarge(TOKENIZER, 500 * MEGABYTE), "are the most"),
    "a tokenizer of an export": (
        "onnx",
        enlarge("tokenizer.json", 500 * MEGABYTE),
        "are the most",
    ),
    "a tokenizer of many values": (
        "numpy",
        write("tokenizer.json", many_values(20_000_000)),
        "values, and",
    ),
    "a vocabulary of 500 MB": (
        "embedding",
        add_large("student/encoder/vocab.txt"),
        "are the most",
    ),
    "a nested tokenizer": ("numpy", write("tokenizer.json", nest(10**5)), DAMAGED),
    "a pattern that goes astray": (
        "numpy",
        edit("tokenizer.json", pre_tokenizer=SPLIT),
        "Regex",
    ),
    "a pattern of a transformer": (
        "transformer",
        edit(TOKENIZER, pre_tokenizer=SPLIT),
        "Regex",
    ),
    "a token beyond the vectors": ("numpy", edit("tokenizer.json", model=HOT), "and token 1000000"),
    # Graphs.
    "a graph that is none": ("onnx", write("model.onnx", b"\0" * 1000), DAMAGED),
    "a graph elsewhere": ("onnx", edit(model="../model.onnx"), "its model is"),
    "weights above": ("onnx", read_elsewhere("../secret"), ELSEWHERE),
    "weights at an absolute path": ("onnx", read_elsewhere("/etc/passwd"), ELSEWHERE),
    "operators of a stranger": ("onnx", graph(ask_for_code), DAMAGED),
    "a graph of NaN": ("onnx", graph(spoil_weights), "no probabilities"),
    "entities of XML": ("openvino", add_entities, DAMAGED),
    "weights beyond the file": ("openvino", spoil_layers, DAMAGED),
}


def attack(kind, directory):
    """Load in this process, and tell how it went."""
    base, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    found = {"error": None, "message": "", "trace": ""}
    try:
        load(kind, directory).predict(["my card"])
    except BaseException as error:
        found = {"error": type(error).__name__, "message": str(error)}
        found["trace"] = traceback.format_exc()[-2000:]
    found["seconds"] = time.process_time() - start
    found["megabytes"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) / 1024
    found["was_run"] = marker().exists()
    return found


def fork(kind, directory):
    out = directory.with_name(f"{directory.name}.json")
    child = os.fork()
    if not child:
        signal.alarm(PATIENCE)
        try:
            out.write_text(json.dumps(attack(kind, directory)))
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    if out.exists():
        return json.loads(out.read_text())
    return {"error": signal.Signals(status & 127).name, "message": "", "trace": "", "was_run": True}


def main(folder, names):
    warnings.simplefilter("ignore")
    os.environ["PGKD_TEST_MARKER"] = str(folder / "was-run")
    make_all(folder)
    sys.path.insert(0, str(folder))
    write_code(folder)
    found = {}
    for i, name in enumerate(names):
        kind, spoil, _ = ATTACKS[name]
        directory = folder / f"attack-{i}"
        shutil.copytree(folder / kind, directory)
        os.chdir(directory.parent)
        spoil(directory)
        found[name] = {"directory": str(directory), **fork(kind, directory)}
        shutil.rmtree(directory)
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
