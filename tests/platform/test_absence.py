"""A server that does not answer is left alone for a while, and then asked by one."""

import time
from concurrent.futures import ThreadPoolExecutor

from fraudsite.absence import Absence


def test_everybody_may_try_a_server_that_is_there() -> None:
    absence = Absence(60)
    assert all(absence.may_try() for _ in range(3))


def test_nobody_tries_one_that_did_not_answer() -> None:
    absence = Absence(60)
    absence.begins()
    assert not absence.may_try()


def test_one_tries_after_the_pause_and_the_others_leave_it_at_that() -> None:
    absence = Absence(0.1)
    absence.begins()
    time.sleep(0.11)
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: absence.may_try(), range(8))) == 1


def test_everybody_tries_again_once_it_answered() -> None:
    absence = Absence(60)
    absence.begins()
    absence.over()
    assert all(absence.may_try() for _ in range(3))
