"""Which engine computes, and in which numbers: what is there is found out, and timed."""

import os
import subprocess
import sys
import types
from importlib.util import find_spec

import pytest

from pgkd.exceptions import InvalidInputError, PersistenceError
from pgkd.export import engines
from pgkd.export.engines import Engine, open_engine

SECONDS = {
    ("onnxruntime", "float32"): 0.003,
    ("openvino", "float32"): 0.002,
    ("openvino", "bfloat16"): 0.001,
}


@pytest.fixture
def play(monkeypatch, tmp_path):
    """Engines that advance a clock, on a CPU that has bfloat16 or has not."""
    now = [0.0]
    clock = types.SimpleNamespace(perf_counter=lambda: now[0])
    monkeypatch.setattr(engines, "time", clock)

    def make(*installed, bfloat16=True, seconds=SECONDS, file="model.onnx"):
        def open_one(name, path, precision, n_threads):
            if (name, precision) not in seconds:
                raise RuntimeError(f"{name} cannot read this graph")

            def run(batch):
                now[0] += seconds[name, precision]

            return Engine(name, precision, ["input_ids"], run)

        for name in ("onnxruntime", "openvino"):
            opener = lambda *given, name=name: open_one(name, *given)  # noqa: E731
            monkeypatch.setitem(engines._OPEN, name, opener)
        monkeypatch.setattr(engines, "find_spec", lambda name: name in installed or None)
        capabilities = ["FP32", "INT8", *(["BF16"] if bfloat16 else [])]
        core = types.SimpleNamespace(get_property=lambda device, name: capabilities)
        monkeypatch.setattr(engines, "get_openvino", lambda: core)

        def ask(engine="auto", precision="float32"):
            found = open_engine(tmp_path / file, engine, precision, None, lambda engine: {})
            return found.name, found.precision

        return ask

    return make


def test_one_that_opens_and_cannot_run_is_left_out(play, monkeypatch):
    ask = play("onnxruntime", "openvino")

    def open_broken(path, precision, n_threads):
        def run(batch):
            raise RuntimeError("no such kernel")

        return Engine("openvino", precision, ["input_ids"], run)

    monkeypatch.setitem(engines._OPEN, "openvino", open_broken)
    assert ask() == ("onnxruntime", "float32")
    monkeypatch.setitem(engines._OPEN, "onnxruntime", lambda *given: open_broken(*given))
    with pytest.raises(RuntimeError, match="no such kernel"):
        ask()


def test_the_fastest_is_taken(play):
    ask = play("onnxruntime", "openvino")
    assert ask() == ("openvino", "float32")
    assert ask(precision="auto") == ("openvino", "bfloat16")
    assert ask("onnxruntime", "auto") == ("onnxruntime", "float32")
    assert ask("openvino", "bfloat16") == ("openvino", "bfloat16")
    slow = {key: 0.004 - seconds for key, seconds in SECONDS.items()}
    ask = play("onnxruntime", "openvino", seconds=slow)
    assert ask(precision="auto") == ("onnxruntime", "float32")


def test_what_is_installed_is_taken(play):
    assert play("onnxruntime")(precision="auto") == ("onnxruntime", "float32")
    assert play("openvino")() == ("openvino", "float32")
    with pytest.raises(ImportError, match="onnxruntime is not installed"):
        play()()
    with pytest.raises(ImportError, match=r"openvino is not installed.*pgkd\[openvino\]"):
        play("onnxruntime")("openvino")


def test_bfloat16_is_never_assumed(play):
    ask = play("onnxruntime", "openvino", bfloat16=False)
    assert ask(precision="auto") == ("openvino", "float32")
    for installed in (("onnxruntime", "openvino"), ("onnxruntime",)):
        with pytest.raises(InvalidInputError, match="takes OpenVINO, and a CPU with instructions"):
            play(*installed, bfloat16=False)(precision="bfloat16")


def test_one_that_cannot_open_the_graph_is_passed_over(play):
    only = {("onnxruntime", "float32"): 0}
    assert play("onnxruntime", "openvino", seconds=only)() == ("onnxruntime", "float32")
    with pytest.raises(RuntimeError, match="onnxruntime cannot read this graph"):
        play("onnxruntime", "openvino", seconds={})()


def test_files(play):
    ask = play("onnxruntime", "openvino", file="openvino_model.xml")
    assert ask() == ("openvino", "float32")
    with pytest.raises(PersistenceError, match="which onnxruntime cannot run"):
        ask("onnxruntime")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"engine": "tensorrt"}, r"`engine` must be one of \['auto', 'onnxruntime'.*'numpy'\]"),
        ({"precision": "bf16"}, r"`precision` must be one of \['auto', 'float32', 'bfloat16'\]"),
    ],
)
def test_parameters_are_checked(play, parameters, message):
    with pytest.raises(InvalidInputError, match=message):
        play("onnxruntime")(**parameters)


def test_the_real_cpu():
    """What OpenVINO says of this machine is what its flags say, where they can be read."""
    if not find_spec("openvino"):
        pytest.skip("it needs pgkd[openvino]")
    try:
        with open("/proc/cpuinfo", encoding="ascii") as file:
            flags = set(file.read().split())
    except OSError:
        pytest.skip("no /proc/cpuinfo")
    if "avx2" not in flags:
        pytest.skip("no x86 CPU")
    assert engines._has_bfloat16("openvino") == bool({"avx512_bf16", "amx_bf16"} & flags)
    assert not engines._has_bfloat16("onnxruntime")


def test_openvino_tells_nobody(tmp_path):
    """By itself it would note in HOME who the user is, and tell its makers, but in CI."""
    if not find_spec("openvino"):
        pytest.skip("it needs pgkd[openvino]")
    code = (
        "import os, sys\n"
        "sys.addaudithook(lambda event, _: event.startswith('socket.') and os._exit(3))\n"
        "from pgkd.export.engines import import_openvino\n"
        "import_openvino().Core()\n"
        "assert 'openvino_telemetry' not in sys.modules\n"
    )
    is_ci = ("CI", "TF_BUILD", "JENKINS_URL")
    environment = {name: value for name, value in os.environ.items() if name not in is_ci}
    command = [sys.executable, "-W", "ignore", "-c", code]
    subprocess.run(command, check=True, env={**environment, "HOME": str(tmp_path)})
    assert not [*tmp_path.iterdir()]
