"""Both engines on real models; the choice between them, its cache and its faults."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import REGISTRY

from data.errors import BundleError, SettingsError
from data.tokenization import encode, load_tokenizer, pad
from serving.bundle import MODEL, PARITY, Bundle, read_bundle, write_bundle
from serving.classifier import Classifier
from serving.engines import choice, openvino_engine
from serving.engines.engine import ENGINES, Outputs, describe_cpu, on_engine, open_engine
from serving.engines.parity import compare, read_parity, run_all, write_parity
from serving.prediction_keys import cache_key
from serving.service.inference import InferenceService
from serving.service.schemas import EngineShown
from serving.settings import ServingSettings
from tests.models import some_texts, tiny_bundle, write_checkpoint, write_sum_model
from tests.serving.running import ROOT


def with_parity(folder: Path, *, served: Path | None = None) -> Bundle:
    """Write a tiny bundle with a parity set whose float32 model is that of the bundle, or `served`."""
    plain = tiny_bundle(folder / "plain")
    tokenizer = load_tokenizer(plain.directory / "tokenizer.json", max_length=32)
    rows = encode(tokenizer, some_texts(60))
    reference = open_engine("onnxruntime", served or plain.directory / MODEL, 1)
    write_parity(folder / "made.npz", rows, 0, float32=reference, served=reference)
    return write_bundle(
        folder / "bundle",
        model_file=plain.directory / MODEL,
        tokenizer_file=plain.directory / "tokenizer.json",
        card="# tiny\n",
        name="tiny",
        max_length=32,
        parity_file=folder / "made.npz",
    )


def measured(**cpu_us) -> dict:
    """A measurement in which an engine without a time has failed."""
    return {
        name: {
            "version": "1",
            "flips": 0,
            "mean_gap": 0.0,
            "cpu_us": cpu_us.get(name),
            "reason": "" if name in cpu_us else "broken",
        }
        for name in ENGINES
    }


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A BERT with random weights: float32, optimized, and 8 bits with both schemes, by name."""
    from training.onnx_export import export_fp32
    from training.onnx_optimize import optimize
    from training.onnx_quantize import quantize

    folder = tmp_path_factory.mktemp("exported")
    checkpoint = write_checkpoint(folder / "checkpoint")
    tokenizer = load_tokenizer(checkpoint / "tokenizer.json", max_length=32)
    batch = pad(encode(tokenizer, some_texts(32)), 0)
    files = {"fp32": export_fp32(checkpoint, folder / "fp32.onnx")}
    files["optimized"] = optimize(files["fp32"], folder / "optimized.onnx")
    for scheme in ("int8_rowwise", "int8_static"):
        files[scheme] = quantize(
            scheme,
            fp32_file=files["fp32"],
            optimized_file=files["optimized"],
            out_file=folder / f"{scheme}.onnx",
            calibration=[batch],
        )
    return files, batch


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["fp32", "optimized", "int8_rowwise", "int8_static"])
def test_both_engines_compute_the_same_logits(exported, variant):
    files, (input_ids, mask) = exported
    ours, theirs = (open_engine(name, files[variant], 1).run(input_ids, mask).logits for name in ENGINES)
    assert ours.shape == theirs.shape == (32, 3) and ours.dtype == theirs.dtype == np.float32
    scale = np.abs(ours).max()
    np.testing.assert_allclose(theirs, ours, atol=scale * (1e-4 if "int8" not in variant else 0.05))


@pytest.mark.slow
def test_openvino_runs_calls_of_several_threads_at_once(exported):
    files, (input_ids, mask) = exported
    engine = open_engine("openvino", files["optimized"], 1)
    expected = engine.run(input_ids, mask).logits
    parts = [slice(start, start + 1 + start % 3) for start in range(30)] * 4
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda part: engine.run(input_ids[part], mask[part]).logits, parts))
    for part, logits in zip(parts, found, strict=True):
        np.testing.assert_allclose(logits, expected[part], atol=1e-4)


@pytest.mark.parametrize("engine", ENGINES)
def test_classifier_predicts_the_same_on_each_engine(tmp_path, engine):
    bundle = tiny_bundle(tmp_path / "bundle")
    classifier = Classifier(bundle, threads=1, engine=open_engine(engine, bundle.directory / MODEL, 1))
    assert classifier.engine.name == engine and classifier.name == on_engine(bundle.manifest.version, engine)
    assert classifier.classify(some_texts(60)) == Classifier(bundle, threads=1).classify(some_texts(60))


@pytest.mark.parametrize("engine", ENGINES)
def test_model_that_is_not_onnx_is_refused(tmp_path, engine):
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(BundleError, match="cannot be loaded"):
        open_engine(engine, tmp_path / "model.onnx", 1)


@pytest.mark.parametrize("engine", ENGINES)
def test_model_with_other_inputs_is_refused(tmp_path, engine):
    import onnx

    model = onnx.load(str(write_sum_model(tmp_path / "model.onnx")))
    model.graph.input[0].name = model.graph.node[0].input[1] = "tokens"
    onnx.save(model, str(tmp_path / "model.onnx"))
    with pytest.raises(BundleError, match="unexpected inputs"):
        open_engine(engine, tmp_path / "model.onnx", 1)


def test_importing_openvino_loads_no_usage_statistics(tmp_path):
    write_sum_model(tmp_path / "model.onnx")
    program = (
        "import sys; from pathlib import Path; from serving.engines.engine import open_engine; "
        f"open_engine('openvino', Path({str(tmp_path / 'model.onnx')!r}), 1); "
        "print([name for name in sys.modules if 'telemetry' in name or name == 'torch' or '.ovc' in name])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_setting_names_the_engine(tmp_path):
    bundle = with_parity(tmp_path)
    for name in ENGINES:
        chosen = choice.choose_engine(bundle, name, 1, tmp_path / "engines")
        assert (chosen.engine.name, chosen.chosen, chosen.measured) == (name, "setting", {})
        assert chosen.describe()["cpu"] == describe_cpu()
    assert not (tmp_path / "engines").exists()


def test_named_engine_that_is_not_installed_is_an_error_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(SettingsError, match=r"groundswell\[openvino\]"):
        choice.choose_engine(with_parity(tmp_path), "openvino", 1, tmp_path)


def test_named_engine_that_fails_parity_is_an_error(tmp_path):
    other = write_sum_model(tmp_path / "other.onnx", strength=-2.0)
    with pytest.raises(BundleError, match="of 60 labels differ"):
        choice.choose_engine(with_parity(tmp_path, served=other), "openvino", 1, tmp_path)


def test_auto_measures_both_engines_and_caches_the_result(tmp_path, monkeypatch):
    bundle = with_parity(tmp_path)
    chosen = choice.choose_engine(bundle, "auto", 1, tmp_path / "engines")
    assert chosen.chosen == "measured" and set(chosen.measured) == set(ENGINES)
    for figures in chosen.measured.values():
        assert figures["flips"] == 0 and figures["cpu_us"] > 0 and figures["reason"] == ""
    monkeypatch.setattr(choice.subprocess, "run", None)  # a second measurement would fail
    again = choice.choose_engine(bundle, "auto", 1, tmp_path / "engines")
    assert again.describe() == chosen.describe()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"measured": {}}', b'{"measured": {"onnxruntime": 1}}', b"\xff"])
def test_corrupt_cache_is_measured_again(tmp_path, monkeypatch, content):
    bundle, cache = with_parity(tmp_path), tmp_path / "engines"
    result = json.dumps(measured(onnxruntime=100.0, openvino=99.0))
    runs = []

    def run(command, **options):
        runs.append(command)
        return subprocess.CompletedProcess(command, 0, result, "")

    monkeypatch.setattr(choice.subprocess, "run", run)
    choice.choose_engine(bundle, "auto", 1, cache)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    file.write_bytes(content)
    assert choice.choose_engine(bundle, "auto", 1, cache).chosen == "measured"
    assert len(runs) == 2 and file.read_bytes() == whole


def test_bundle_without_parity_set_is_served_on_onnxruntime(tmp_path, caplog):
    bundle = tiny_bundle(tmp_path / "bundle")
    chosen = choice.choose_engine(bundle, "auto", 1, tmp_path / "engines")
    assert (chosen.engine.name, chosen.chosen) == ("onnxruntime", "fallback")
    assert [record.levelname for record in caplog.records] == ["WARNING"] and "has no parity set" in caplog.text
    with pytest.raises(BundleError, match="has no parity set"):
        choice.choose_engine(bundle, "openvino", 1, tmp_path / "engines")


@pytest.mark.parametrize(
    "outcome, reason",
    [
        (subprocess.TimeoutExpired("measure", 60), "timed out"),
        (subprocess.CompletedProcess("measure", -4, "", "Illegal instruction"), "ended with -4: Illegal instruction"),
        (subprocess.CompletedProcess("measure", 0, "no JSON", ""), "Expecting value"),
        (subprocess.CompletedProcess("measure", 0, json.dumps(measured()), ""), "No engine passes parity"),
        (OSError("no process"), "no process"),
    ],
)
def test_failed_measurement_falls_back_to_onnxruntime_with_one_line(tmp_path, monkeypatch, caplog, outcome, reason):
    def run(command, **options):
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(choice.subprocess, "run", run)
    chosen = choice.choose_engine(with_parity(tmp_path), "auto", 1, tmp_path / "engines")
    assert (chosen.engine.name, chosen.chosen) == ("onnxruntime", "fallback") and reason in chosen.reason
    assert len(caplog.records) == 1 and reason in caplog.text
    assert not list((tmp_path / "engines").glob("*")), "a failure is not cached"


def test_engine_that_is_gone_since_the_measurement_falls_back(tmp_path, monkeypatch, caplog):
    result = json.dumps(measured(onnxruntime=100.0, openvino=50.0))
    monkeypatch.setattr(choice.subprocess, "run", lambda command, **options: subprocess.CompletedProcess(command, 0, result, ""))
    bundle = with_parity(tmp_path)
    assert choice.choose_engine(bundle, "auto", 1, tmp_path / "engines").engine.name == "openvino"
    monkeypatch.setitem(sys.modules, "openvino", None)
    chosen = choice.choose_engine(bundle, "auto", 1, tmp_path / "engines")
    assert (chosen.engine.name, chosen.chosen) == ("onnxruntime", "fallback") and len(caplog.records) == 1


def test_measurement_reports_an_engine_that_is_not_installed(tmp_path, monkeypatch):
    from serving.engines.measure import measure

    bundle = with_parity(tmp_path)
    monkeypatch.setitem(sys.modules, "openvino", None)
    found = measure(bundle.directory, 1)
    assert found["openvino"]["cpu_us"] is None and "not installed" in found["openvino"]["reason"]
    assert choice.decide(found)[0] == "onnxruntime"


def test_measurement_leaves_out_an_engine_that_fails_parity(tmp_path, monkeypatch):
    from serving.engines.measure import measure

    bundle = with_parity(tmp_path)
    right = openvino_engine.OpenVinoEngine.run
    monkeypatch.setattr(
        openvino_engine.OpenVinoEngine, "run", lambda self, ids, mask: Outputs(-right(self, ids, mask).logits, None)
    )
    found = measure(bundle.directory, 1)
    assert found["openvino"]["cpu_us"] is None and "labels differ" in found["openvino"]["reason"]
    assert found["onnxruntime"]["cpu_us"] > 0


@pytest.mark.parametrize(
    "cpu_us, expected",
    [
        ({"onnxruntime": 1000.0, "openvino": 700.0}, "openvino"),
        ({"onnxruntime": 1000.0, "openvino": 950.0}, "onnxruntime"),
        ({"onnxruntime": 1000.0, "openvino": 2000.0}, "onnxruntime"),
        ({"onnxruntime": 1000.0}, "onnxruntime"),
        ({"openvino": 3000.0}, "openvino"),
    ],
)
def test_cheapest_engine_is_chosen_if_it_saves_a_tenth(cpu_us, expected):
    name, reason = choice.decide(measured(**cpu_us))
    assert name == expected and f"{cpu_us[name]:,.0f}" in reason


def test_parity_set_finds_flipped_labels_and_shifted_probabilities(tmp_path):
    parity_set = read_parity(with_parity(tmp_path).directory / PARITY)
    assert len(parity_set.rows) == 60 and parity_set.flips == 0
    logits = parity_set.logits
    assert compare(parity_set, logits).reason == ""
    assert "labels differ" in compare(parity_set, logits[:, ::-1]).reason
    assert "probabilities differ" in compare(parity_set, logits * 0.7).reason
    assert "not finite" in compare(parity_set, np.full_like(logits, np.nan)).reason


def test_damaged_parity_set_is_refused(tmp_path):
    bundle = with_parity(tmp_path)
    file = bundle.directory / PARITY
    held = dict(np.load(file))
    file.write_bytes(b"PK damaged")
    with pytest.raises(BundleError, match=PARITY):
        read_bundle(bundle.directory)
    for broken in ({"lengths": held["lengths"][1:]}, {"logits": held["logits"] * np.nan}, {"logits": held["logits"][:, :2]}):
        np.savez(file, **(held | broken))
        with pytest.raises(BundleError, match="cannot be read"):
            read_parity(file)
    np.savez(file, **{name: held[name] for name in held if name != "ids"})
    with pytest.raises(BundleError, match="cannot be read"):
        read_parity(file)


def test_parity_rows_keep_their_order_over_the_runs(tmp_path):
    bundle = with_parity(tmp_path)
    parity_set, engine = read_parity(bundle.directory / PARITY), open_engine("onnxruntime", bundle.directory / MODEL, 1)
    together = run_all(engine, parity_set)
    for position, row in enumerate(parity_set.rows):
        np.testing.assert_allclose(engine.run(*pad([row], 0)).logits[0], together[position], atol=1e-5)


def test_cached_predictions_of_each_engine_are_apart():
    assert on_engine("f", "onnxruntime") == "f", "caches from before there were engines stay valid"
    assert on_engine("f", "openvino") != "f"


def test_cpu_has_model_and_the_flags_that_matter(tmp_path):
    (tmp_path / "cpuinfo").write_text("model name\t: Fast CPU\nflags\t\t: fpu avx2 amx_int8 avx512_vnni\n\nmodel name\t: other\n")
    assert describe_cpu(tmp_path / "cpuinfo") == {"model": "Fast CPU", "flags": "avx2 avx512_vnni amx_int8"}
    assert set(describe_cpu(tmp_path / "missing")) == {"model", "flags"}


def test_spark_and_jobs_use_the_default_engine(tmp_path):
    from serving.lakehouse.classify import CachingClassifier

    assert CachingClassifier(tiny_bundle(tmp_path / "bundle").directory, 1)._classifier.engine.name == "onnxruntime"


@pytest.mark.parametrize("setting", ["onnxruntime", "openvino", "auto"])
def test_service_shows_its_engine_and_caches_by_it(tmp_path, monkeypatch, setting):
    monkeypatch.setenv("GROUNDSWELL_PATHS__VAR_DIR", str(tmp_path / "var"))
    result = json.dumps(measured(onnxruntime=900.0, openvino=500.0))
    monkeypatch.setattr(choice.subprocess, "run", lambda command, **options: subprocess.CompletedProcess(command, 0, result, ""))
    bundle = with_parity(tmp_path)
    service = InferenceService(bundle, ServingSettings.load(engine=setting, prediction_store="memory"))
    service._batcher._threads.shutdown()
    shown = EngineShown.model_validate(service.describe()["engine"])
    name = "onnxruntime" if setting == "onnxruntime" else "openvino"
    assert (shown.name, shown.chosen) == (name, "measured" if setting == "auto" else "setting")
    assert service._cache.key("a great film") == cache_key(on_engine(bundle.fingerprint, name), "a great film")
    labels = {"engine": name, "version": shown.version, "chosen": shown.chosen}
    assert REGISTRY.get_sample_value("groundswell_engine_info", labels) == 1
    if setting == "auto":
        assert shown.measured["openvino"].cpu_us == 500
        assert REGISTRY.get_sample_value("groundswell_engine_measured_cpu_seconds", {"engine": "openvino"}) == 500e-6


def test_stream_worker_uses_the_engine_of_the_settings(tmp_path, monkeypatch):
    from serving.streaming.worker.model import ReloadingModel

    bundle = with_parity(tmp_path)
    monkeypatch.setenv("GROUNDSWELL_BUNDLE_DIR", str(bundle.directory))
    for name in ENGINES:
        reloading = ReloadingModel(tmp_path, name)
        assert isinstance(reloading.current, Classifier) and reloading.current.engine.name == name


def test_command_uses_the_engine_of_the_settings(tmp_path, monkeypatch):
    from orchestration.terminal.scoring import open_classifier

    monkeypatch.setenv("GROUNDSWELL_PATHS__VAR_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("GROUNDSWELL_SERVING__ENGINE", "openvino")
    assert open_classifier(with_parity(tmp_path).directory, threads=1).engine.name == "openvino"


_INTERRUPTED = """
import signal, sys
from pathlib import Path
from serving.engines.engine import open_engine
engines = [open_engine("openvino", Path(sys.argv[1]), 1) for _ in range(2)]
while engines:
    engines.pop(0)
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_signal_after_models_were_replaced_is_handled(tmp_path):
    model = write_sum_model(tmp_path / "model.onnx")
    done = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED, str(model)], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr[-2000:]
