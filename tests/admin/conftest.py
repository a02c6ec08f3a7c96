from tests.screening.conftest import _fresh_screening

__all__ = ["_fresh_screening"]
