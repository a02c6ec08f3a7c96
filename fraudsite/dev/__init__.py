"""The embedded development services and their supervisor: `python -m fraudsite.dev`.

Everything here runs on a bare Python 3.11 until the virtual environment exists, so module level imports are
the standard library's only.
"""
