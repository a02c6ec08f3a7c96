BACKTEST_LOCK = 7_021_011


def backtest_advance(pk: int, *, seconds: float = 240) -> bool:
    return False
