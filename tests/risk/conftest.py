from tests.api.conftest import _no_remembered_keys, api

__all__ = ["_no_remembered_keys", "api"]
