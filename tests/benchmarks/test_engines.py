"""The benchmark of the engines on tiny models: every variant on every engine, compared with float32 on ONNX Runtime."""

from benchmarks.engines import measure, table_of
from tests.models import some_texts, tiny_bundle


def test_every_variant_is_measured_on_every_engine(tmp_path):
    for name, strength in (("onnx_fp32", 2.0), ("same", 2.0), ("opposite", -2.0)):
        tiny_bundle(tmp_path / name, strength=strength)
    variants = {name: tmp_path / name for name in ("onnx_fp32", "same", "opposite")}
    results = measure(variants, some_texts(90), 3, lambda message, fraction: None)
    assert [(one.variant, one.engine) for one in results] == [(v, e) for v in variants for e in ("onnxruntime", "openvino")]
    for one in results:
        assert len(one.cpu_us) == 3 and one.load_s >= 0 and one.batch.flips == 0
        assert (one.flips_per_10000 > 1000) == (one.variant == "opposite")
    table = table_of(results)
    assert len(table.rows) == 6 and {len(row) for row in table.rows} == {len(table.columns)}
