import json

from agents.benchmark import run_benchmark
from mura_app.console import show_benchmark
from mura_app.run_directory import RunDirectory
from mura_env.utils.text import printable
from tests.mura_app.report.hostile import hostile


def test_names_of_a_result_are_shown_as_they_are(tables, tmp_path, capsys):
    document = run_benchmark(*tables, agents=["best_single"], seeds=[0], n_jobs=1, n_resamples=50)
    attacked = hostile(json.loads(json.dumps(document)))
    for folder in ("[/red]", "[bold]run", "\x1b[31mrun"):
        show_benchmark(attacked, RunDirectory(tmp_path / folder), as_json=False)
        shown = capsys.readouterr().out
        assert f"report: {tmp_path}/{printable(folder)}/report.html" in shown
        assert not set(shown) & set("\x1b\x07\x00\x7f\x9b\u202e\u2028\ud800")
