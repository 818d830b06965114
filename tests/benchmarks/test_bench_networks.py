import pytest


def test_both_precisions_are_measured_beside_the_one_that_is_chosen(
    benchmark_script, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = benchmark_script("bench_networks")
    monkeypatch.setattr(script, "BATCH", 2)
    monkeypatch.setattr(script, "ROUNDS", 1)
    row = script.measure("efficientnet_lite0", 32)
    assert row["chosen"] == "fp32"  # its convolutions are depthwise
    assert all(rate > 0 for kind in ("forward", "training") for rate in row[kind].values())
    script.show({"networks": [row]})
    assert "efficientnet_lite0" in capsys.readouterr().out
