"""`report.html`: one self-contained page that shows what a benchmark found."""

from mura_app.report.page import write_report

__all__ = ["write_report"]
