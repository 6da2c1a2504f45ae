"""One slow sample leaves threads for the others; what nobody waits for any more is not begun."""

import asyncio
import threading

import pytest

from cohortseg.viewer.work import Workers


def test_a_sample_that_hangs_does_not_keep_others_waiting() -> None:
    release = threading.Event()

    async def scenario() -> str:
        workers = Workers()
        hanging = [asyncio.create_task(workers.run("slow", release.wait)) for _ in range(50)]
        await asyncio.sleep(0.05)
        try:
            return await asyncio.wait_for(workers.run("other", lambda: "done"), 20)
        finally:
            release.set()
            await asyncio.gather(*hanging)
            workers.close()

    assert asyncio.run(scenario()) == "done"


def test_work_of_requests_that_were_given_up_is_not_begun() -> None:
    release, begun = threading.Event(), []

    async def scenario() -> None:
        workers = Workers()

        def work(number: int) -> None:
            begun.append(number)
            release.wait()

        tasks = [asyncio.create_task(workers.run("a", lambda number=number: work(number))) for number in range(10)]
        await asyncio.sleep(0.1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        release.set()
        assert await workers.run("a", lambda: "next") == "next"
        workers.close()

    asyncio.run(scenario())
    assert begun == [0, 1, 2]


def test_errors_reach_who_waits() -> None:
    async def scenario() -> None:
        workers = Workers()
        with pytest.raises(ZeroDivisionError):
            await workers.run("a", lambda: 1 // 0)
        workers.close()

    asyncio.run(scenario())
