"""Showing what a check of a data set found: on the terminal and as a page."""

from mura_app.data_check.page import check_page_path, write_audit_page
from mura_app.data_check.terminal import show_audit

__all__ = ["check_page_path", "show_audit", "write_audit_page"]
