"""Exported and saved models on a local Ray cluster and in a local Spark."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from students.tiny_bert import write_texts, write_tiny_bert

import pgkd.export.engines
import pgkd.runtime
from pgkd import PGKDClassifier, distributed
from pgkd.exceptions import InvalidInputError, PersistenceError
from pgkd.students import EmbeddingStudent
from pgkd.testing import PoolTeacher

#: Ray 2.60 warns of its own settings, and PySpark 4.3 of pandas 3, with which these tests pass.
pytestmark = [
    pytest.mark.filterwarnings(r"ignore:.use_\w+. is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
]
TEXTS, LABELS = write_texts()
#: What Ray's and Spark's processes find pgkd by.
PATHS = os.pathsep.join(map(str, [Path(pgkd.__file__).parents[1], *sys.path]))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    pytest.importorskip("onnxruntime", reason="exported classifiers need an engine: pgkd[onnx]")
    model = write_tiny_bert(tmp_path_factory.mktemp("tiny_bert"))
    directory = tmp_path_factory.mktemp("exported") / "model"
    EmbeddingStudent(model).fit(TEXTS, LABELS).export(directory, texts=TEXTS)
    return directory


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Labels that are numbers."""
    labels = [len(label) for label in LABELS]
    clf = PGKDClassifier(
        PoolTeacher(["card"], [4]),
        make_pipeline(TfidfVectorizer(), LogisticRegression()),
        max_cycles=0,
        random_state=0,
    )
    directory = tmp_path_factory.mktemp("saved") / "model"
    clf.fit(TEXTS, labels).save(directory)
    return directory


@pytest.fixture(scope="module")
def ray():
    ray = pytest.importorskip("ray", reason='not installed: pip install "pgkd[ray]"')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", PATHS)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(
            num_cpus=4,  # with two actors on two, none would be left to read the texts
            object_store_memory=200 * 2**20,
            include_dashboard=False,
            log_to_driver=False,
        )
        yield ray
        ray.shutdown()


@pytest.fixture(scope="module")
def spark():
    sql = pytest.importorskip("pyspark.sql", reason='not installed: pip install "pgkd[spark]"')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("PYTHONPATH", PATHS)
        session = (
            sql.SparkSession.builder.master("local[2]")
            .config("spark.ui.enabled", "false")
            .config("spark.driver.host", "localhost")
            .config("spark.sql.shuffle.partitions", "2")
            .getOrCreate()
        )
        yield session
        session.stop()


def test_import_is_light():
    code = (
        "import sys, pgkd.distributed; names = ('torch', 'sklearn', 'pandas', 'ray', 'pyspark');"
        "print([name for name in names if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("call", "package", "extra"),
    [
        (lambda: distributed.predict(None, "model"), "ray", "ray"),
        (lambda: distributed.make_udf("model"), "pyspark", "spark"),
    ],
)
def test_missing_extras_are_named(monkeypatch, call, package, extra):
    monkeypatch.setattr(pgkd.export.engines, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=rf'{package} is not installed.*"pgkd\[{extra}\]"'):
        call()


def test_no_model(tmp_path):
    (tmp_path / "pgkd.json").write_text("[]")
    for directory in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(PersistenceError, match="neither an exported nor a saved classifier"):
            distributed._find_kind(directory, "predict")


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [
        (["a", "b"], None),
        (["a", "b"], object),  # as a column of a data frame often is
        ([1, 2], None),
        ([False, True], None),
        ([0.0, 1.0], None),
    ],
)
def test_columns_of_labels_of_any_type(tmp_path, labels, dtype):
    pa = pytest.importorskip("pyarrow", reason='not installed: pip install "pgkd[ray]"')
    student = make_pipeline(TfidfVectorizer(), LogisticRegression())
    clf = PGKDClassifier(PoolTeacher(["a"], labels[:1]), student, max_cycles=0, random_state=0)
    clf.fit(TEXTS, np.array(labels * 18, dtype=dtype)).save(tmp_path / "model")
    kind = distributed._find_kind(tmp_path / "model", "predict")
    actor = distributed._Actor(str(tmp_path / "model"), "predict", kind, "text", "label", {})
    found = actor(pa.table({"text": TEXTS})).column("label").to_pylist()
    assert found == clf.predict(TEXTS).tolist()
    assert type(found[0]) is type(labels[0])


@pytest.mark.slow
class TestRay:
    def test_labels_and_all_columns(self, ray, exported):
        rows = [{"id": i, "text": text} for i, text in enumerate([*TEXTS, "", None])]
        found = distributed.predict(ray.data.from_items(rows), exported, concurrency=2).take_all()
        found = sorted(found, key=lambda row: row["id"])
        assert [(row["id"], row["text"]) for row in found] == [(r["id"], r["text"]) for r in rows]
        labels = pgkd.runtime.load(exported).predict([*TEXTS, ""]).tolist()
        assert [row["prediction"] for row in found] == [*labels, None]

    def test_a_saved_classifier(self, ray, saved):
        dataset = ray.data.from_items([{"words": text} for text in TEXTS])
        found = distributed.predict(
            dataset,
            saved,
            text_column="words",
            output_column="p",
            method="predict_proba",
            concurrency=(1, 2),
        ).take_all()
        expected = dict(zip(TEXTS, PGKDClassifier.load(saved).predict_proba(TEXTS)))
        for row in found:
            np.testing.assert_allclose(row["p"], expected[row["words"]])
        labels = distributed.predict(ray.data.from_items(TEXTS), saved, text_column="item")
        assert labels.schema().types[-1] == "int64"

    def test_a_worker_that_is_killed_costs_no_row(self, ray, exported):
        n = 20_000
        dataset = ray.data.range(n, override_num_blocks=40).map(
            lambda row: {"id": row["id"], "text": TEXTS[row["id"] % len(TEXTS)]}
        )
        done = distributed.predict(dataset, exported, concurrency=2, batch_size=100)
        ids, labels, killed = [], [], []
        for batch in done.iter_batches(batch_size=100, prefetch_batches=0):
            ids += batch["id"].tolist()
            labels += batch["prediction"].tolist()
            if not killed:
                killed = find_actors()
                os.kill(killed[0], signal.SIGKILL)
        assert len(ids) == n
        assert sorted(ids) == list(range(n))
        expected = pgkd.runtime.load(exported).predict(TEXTS)
        assert labels == [expected[i % len(TEXTS)] for i in ids]

    def test_errors_say_what_is_wrong(self, ray, exported):
        dataset = ray.data.from_items([{"text": "my card", "prediction": "card"}])
        with pytest.raises(Exception, match="must have the column 'text' and not yet 'prediction'"):
            distributed.predict(dataset, exported).take_all()
        with pytest.raises(InvalidInputError, match="must be a ray.data.Dataset. Got list instead"):
            distributed.predict(TEXTS, exported)
        with pytest.raises(InvalidInputError, match="`method` must be one of"):
            distributed.predict(dataset, exported, method="label")
        with pytest.raises(InvalidInputError, match="`batch_size` must be an int of 1 or more"):
            distributed.predict(dataset, exported, batch_size=0)


@pytest.mark.slow
class TestSpark:
    def test_labels(self, spark, exported):
        frame = spark.createDataFrame(list(enumerate([*TEXTS, "", None])), "id int, text string")
        frame = frame.repartition(3)
        classify = distributed.make_udf(exported, engine="onnxruntime")
        found = frame.withColumn("label", classify("text")).orderBy("id").collect()
        labels = pgkd.runtime.load(exported).predict([*TEXTS, ""]).tolist()
        assert [row.label for row in found] == [*labels, None]

    def test_a_saved_classifier(self, spark, saved):
        frame = spark.createDataFrame([(text,) for text in TEXTS], "text string")
        label = distributed.make_udf(saved)("text").alias("label")
        p = distributed.make_udf(saved, method="predict_proba")("text").alias("p")
        frame = frame.select("text", label, p)
        assert dict(frame.dtypes) == {"text": "string", "label": "bigint", "p": "array<double>"}
        found = frame.collect()
        clf = PGKDClassifier.load(saved)
        assert [row.label for row in found] == clf.predict(TEXTS).tolist()
        np.testing.assert_allclose([row.p for row in found], clf.predict_proba(TEXTS))

    def test_errors_say_what_is_wrong(self, spark, exported):
        with pytest.raises(InvalidInputError, match="`method` must be one of"):
            distributed.make_udf(exported, method="label")
        with pytest.raises(InvalidInputError, match="`n_threads` must be an int of 1 or more"):
            distributed.make_udf(exported, n_threads=0)


def find_actors():
    """Return the ids of this process's descendants that are Ray Data's actors."""
    parents, names = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
            names[int(folder.name)] = (folder / "cmdline").read_text()
        except OSError:  # it has ended
            continue
        parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])

    def is_mine(process):
        while process not in (0, os.getpid()):
            process = parents.get(process, 0)
        return process == os.getpid()

    actors = [p for p, name in names.items() if "ray::MapWorker" in name and is_mine(p)]
    assert actors, [name for p, name in names.items() if is_mine(p)]
    return actors
