"""Some cores together: they find each other, live on without their bootstrap, and are whole again after a partition.

With all parts of `assembly`. The net of `small_net.py` is deterministic: the seeds below always give the same runs, so
nothing here fails by chance.
"""

from __future__ import annotations

import pytest
from tests.mesh.small_net import EPOCH_NS, S, SmallNet

from qcommons.mesh import events as e
from qcommons.mesh.view import MOST, WANTED


@pytest.fixture(scope="module")
def thirty() -> SmallNet:
    """Thirty that have joined by one address and know each other."""
    net = SmallNet(30)
    net.start_all()
    net.seconds_until(net.everybody_knows_everybody, 5)
    net.run(10)
    return net


def bad_news(net: SmallNet, since_ns: int) -> list[str]:
    return [
        news.state
        for node in net.live()
        for at_ns, news in node.news
        if at_ns >= since_ns and news.state in ("suspect", "lost", "banned")
    ]


def test_thirty_nodes_with_one_contact_know_each_other_within_two_seconds() -> None:
    net = SmallNet(30)
    net.start_all()
    assert net.seconds_until(net.everybody_knows_everybody, 2) < 2


def test_neighbours_are_few_mutual_and_the_first_contact_has_no_more_than_others(thirty: SmallNet) -> None:
    views = {node.peer: set(node.core.neighbours()) for node in thirty.nodes if node.core}
    assert all(WANTED <= len(view) <= MOST for view in views.values())
    one_sided = [(a, b) for a, view in views.items() for b in view if a not in views[b]]
    assert one_sided == []


def test_at_rest_nobody_is_suspected_and_little_is_said(thirty: SmallNet) -> None:
    since_ns, sent = thirty.now_ns, sum(sum(node.sent.values()) for node in thirty.nodes)
    thirty.run(100)
    assert bad_news(thirty, since_ns) == []
    rate = (sum(sum(node.sent.values()) for node in thirty.nodes) - sent) / 100 / 30
    assert rate < 20, f"{rate:.1f} messages a second and node"


def test_the_mesh_lives_on_without_its_bootstrap_and_takes_it_back(thirty: SmallNet) -> None:
    first = thirty.nodes[0]
    thirty.kill(first)
    took_s = thirty.seconds_until(lambda: all(thirty.states(n)[0] == "lost" for n in thirty.live()), 20)
    assert 10 < took_s < 18
    assert thirty.everybody_knows_everybody()
    newcomer = thirty.nodes[7]
    thirty.kill(newcomer)
    newcomer.disk.clear()
    contact = thirty.nodes[20]
    thirty.start(newcomer, e.Reached("", contact.address, contact.peer, True))
    assert thirty.seconds_until(thirty.everybody_knows_everybody, 3) < 3
    thirty.start(first)
    assert thirty.seconds_until(thirty.everybody_knows_everybody, 3) < 3


@pytest.mark.parametrize("seconds", [20, 120])
def test_two_halves_are_whole_again_within_three_seconds(thirty: SmallNet, seconds: int) -> None:
    thirty.wall = lambda a, b: (a < 15) != (b < 15)
    thirty.run(seconds)
    assert thirty.states(thirty.nodes[3])[20] == "lost"
    assert thirty.everybody_knows_everybody(thirty.nodes[:15])
    assert thirty.everybody_knows_everybody(thirty.nodes[15:])
    thirty.wall = lambda a, b: False
    assert thirty.seconds_until(thirty.everybody_knows_everybody, 3) < 3
    since_ns = thirty.now_ns
    thirty.run(30)
    assert bad_news(thirty, since_ns) == [], "and stay so"


def test_ten_of_thirty_killed_are_noticed_and_the_others_keep_each_other(thirty: SmallNet) -> None:
    killed = thirty.nodes[10:20]
    for node in killed:
        thirty.kill(node)
    since_ns = thirty.now_ns
    thirty.run(18)
    for node in thirty.live():
        states = thirty.states(node)
        assert [states[other.index] for other in killed] == ["lost"] * 10
    wrong = [
        news for node in thirty.live() for at_ns, news in node.news
        if at_ns >= since_ns and news.state in ("suspect", "lost") and news.peer not in {k.peer for k in killed}
    ]  # fmt: skip
    assert wrong == [], "nobody who lives was suspected"
    for node in killed:
        thirty.start(node)
    assert thirty.seconds_until(thirty.everybody_knows_everybody, 3) < 3


def test_a_frozen_node_blames_itself(thirty: SmallNet) -> None:
    frozen = thirty.nodes[4]
    frozen.frozen_until_ns = thirty.now_ns + 25 * S
    thirty.run(24.9)
    assert all(thirty.states(node)[4] == "lost" for node in thirty.live() if node is not frozen)
    since_ns = thirty.now_ns
    assert thirty.seconds_until(thirty.everybody_knows_everybody, 3) < 3
    assert [news for at_ns, news in frozen.news if at_ns >= since_ns and news.state in ("suspect", "lost")] == []


def test_who_says_farewell_is_stopped_everywhere_at_once(thirty: SmallNet) -> None:
    leaver = thirty.nodes[11]
    thirty.run(5)  # whoever was frozen before has neighbours again
    thirty.tell(leaver, e.Leave("good night"))
    leaver.core = None
    assert thirty.seconds_until(lambda: all(thirty.states(n)[11] == "stopped" for n in thirty.live()), 2) < 1.5
    assert leaver.core is None
    thirty.start(leaver)
    assert thirty.seconds_until(thirty.everybody_knows_everybody, 3) < 3


def test_planned_absence_is_away_for_all_and_back_at_once(thirty: SmallNet) -> None:
    sleeper = thirty.nodes[12]
    now_s = (EPOCH_NS + thirty.now_ns) // S
    thirty.tell(sleeper, e.MyAway("t", ((now_s + 3, now_s + 60),)))
    thirty.run(4)
    thirty.kill(sleeper)
    thirty.run(20)
    assert {thirty.states(node)[12] for node in thirty.live()} == {"away"}
    thirty.start(sleeper)
    assert thirty.seconds_until(thirty.everybody_knows_everybody, 3) < 3


def test_a_record_is_renewed_after_its_thousand_eight_hundred_beats() -> None:
    net = SmallNet(3)
    net.start_all()
    net.run(5)
    before = net.nodes[0].core.own.signed if net.nodes[0].core else None
    since_ns = net.now_ns
    net.run(3700)
    after = net.nodes[0].core.own.signed if net.nodes[0].core else None
    assert before is not None and after is not None
    assert after.record.seq > before.record.seq
    assert all(n.core.signed(net.nodes[0].peer) == after for n in net.nodes[1:] if n.core)
    assert bad_news(net, since_ns) == []


def test_a_lost_disk_and_a_clock_set_back_do_not_shut_a_node_out() -> None:
    net = SmallNet(6)
    net.start_all()
    net.run(5)
    node = net.nodes[3]
    net.kill(node)
    node.disk.clear()
    net.run(1)
    node.skew_ns = -300 * S
    net.start(node, e.Reached("", net.nodes[1].address, net.nodes[1].peer, True))
    assert net.seconds_until(net.everybody_knows_everybody, 5) < 5


def test_the_same_seed_gives_the_same_run() -> None:
    traces = []
    for seed in (5, 5, 6):
        net = SmallNet(10, seed)
        net.start_all()
        net.run(20)
        traces.append(net.trace.hexdigest())
    assert traces[0] == traces[1] != traces[2]
