# report: from sessions to figures, the table, what the aims say, and the plot.
# SPDX-License-Identifier: Apache-2.0
import json
import math
import os
import statistics

NAMES = ["postern", "leastconn", "roundrobin", "omniscient"]
TITLES = {"postern": "Postern", "leastconn": "HAProxy leastconn", "roundrobin": "HAProxy roundrobin",
          "omniscient": "omniscient"}
PHASES = ["healthy", "fault", "settled", "after"]   # settled: of the fault, without its first intervals
PATIENCE_MS = 20000   # of the clients; a session that failed counts as one that lasted so long
PAST = {"imap": ("noop", "logout"), "smtp": ("message", "quit")}   # past login or hand-over: no proxy can help


def percentile(values, part):
    values = sorted(values)
    return round(values[min(len(values) - 1, int(part * len(values)))], 1) if values else None


def figures(sessions):
    bad = [s for s in sessions if not s["ok"]]
    return {"p50": percentile([s["ms"] for s in sessions], 0.5), "p99": percentile([s["ms"] for s in sessions], 0.99),
            "sessions": len(sessions), "failed": len(bad), "failed_past": sum(s["past"] for s in bad),
            "b1_share": {p: share([s for s in sessions if s["protocol"] == p]) for p in ("imap", "smtp")}}


def share(sessions):
    told = [s for s in sessions if s["backend"] != "-"]
    return round(sum(s["backend"] == "b1" for s in told) / len(told), 3) if told else None


def digest(lines, weights, lengths, settle):
    """One round: figures by contender and phase, and what Postern's weights did."""
    healthy, fault, after = lengths
    bounds = {"healthy": (1, healthy), "fault": (healthy, healthy + fault),
              "settled": (healthy + settle, healthy + fault), "after": (healthy + fault, healthy + fault + after)}
    sessions, lag = [], None
    for line in lines:
        words = line.split(None, 6)
        if words[0] == "lag":
            lag = float(words[1])
            continue
        contender, protocol, start, took, end, backend = words[:6]
        sessions.append({"contender": contender, "protocol": protocol, "start": float(start) / 1000,
                         "ms": float(took) if end == "ok" else PATIENCE_MS,
                         "ok": end == "ok", "past": end in PAST[protocol], "backend": backend,
                         "why": end + ": " + (words[6].strip() if len(words) > 6 else "")})
    result = {"lag_ms": lag, "contenders": {}, "why": {}}
    for name in NAMES:
        own = [s for s in sessions if s["contender"] == name]
        result["contenders"][name] = {phase: figures([s for s in own if low <= s["start"] < high])
                                      for phase, (low, high) in bounds.items()}
        # By second, for the plot.
        result["contenders"][name]["by_second"] = [
            percentile([s["ms"] for s in own if second <= s["start"] < second + 1], 0.95)
            for second in range(healthy + fault + after)]
        reasons = {}
        for s in own:
            if not s["ok"]:
                reasons[f"{s['protocol']} {s['why']}"] = reasons.get(f"{s['protocol']} {s['why']}", 0) + 1
        result["why"][name] = reasons
    result["weights"] = {who: [[at, all_of[who][0]] for at, all_of in weights if who in all_of]
                         for who in ("b1/smtp", "b1/imap")}
    result["words"] = [[at, all_of["b1/" + p][1:]] for at, all_of in weights for p in ("smtp", "imap")]
    result["queue"] = queue_figures([s for s in sessions if s["contender"] == "postern" and s["protocol"] == "smtp"],
                                    weights)
    return result


def queue_figures(sessions, weights):
    """Is b1's share of new mail its weight's share (in windows of 3 s)? How often does its weight turn?"""
    worst = 0.0
    for low in range(1, int(weights[-1][0]) - 2, 3):
        looks = [w for at, w in weights if low <= at < low + 3]
        got = share([s for s in sessions if low <= s["start"] < low + 3])
        if got is None or not looks:
            continue
        due = statistics.mean(w["b1/smtp"][0] / max(1e-9, sum(v[0] for k, v in w.items() if k.endswith("/smtp")))
                              for w in looks)
        worst = max(worst, abs(got - due))
    turns, direction, last = 0, 0, None
    for _, look in weights:
        weight = look["b1/smtp"][0]
        if last is not None and abs(weight - last) > 0.5:
            way = 1 if weight > last else -1
            turns += direction not in (0, way)
            direction = way
        last = weight
    return {"share_off_by_points": round(100 * worst, 1), "weight_turns": turns}


def median(rounds, name, phase, key):
    values = [r["contenders"][name][phase][key] for r in rounds if r["contenders"][name][phase][key] is not None]
    return statistics.median(values) if values else 0


def table(rounds_of, titles):
    rows = ["| fault | contender | healthy p50 / p99 | fault p50 / p99 | settled p99 | after p50 / p99 | "
            "failed: healthy, fault, after |", "|---|---|---|---|---|---|---|"]
    for key, rounds in rounds_of.items():
        for name in NAMES:
            def ms(phase, *keys):
                return " / ".join(f"{median(rounds, name, phase, k):.0f}" for k in keys)
            parts = ("healthy", "fault", "after")
            failed = ", ".join(f"{median(rounds, name, phase, 'failed'):.0f}" for phase in parts)
            past = sum(median(rounds, name, phase, "failed_past") for phase in parts)
            rows.append(f"| ({key}) {titles[key]} | {TITLES[name]} | {ms('healthy', 'p50', 'p99')} | "
                        f"{ms('fault', 'p50', 'p99')} | {ms('settled', 'p99')} | {ms('after', 'p50', 'p99')} | "
                        f"{failed}{f' ({past:.0f} past login or hand-over)' if past else ''} |")
    return "\n".join(rows)


def avoidable_of(rounds, name):
    """Sessions that failed, but for those past login or hand-over; median of the rounds."""
    return statistics.median(sum(r["contenders"][name][p]["failed"] - r["contenders"][name][p]["failed_past"]
                                 for p in ("healthy", "fault", "after")) for r in rounds)


def aims(rounds_of):
    """Lines of (is met, text)."""
    said = []

    def add(key, is_met, text):
        said.append(f"({key}) {'met' if is_met else 'MISSED'}: {text}")

    for key, rounds in rounds_of.items():
        healthy, settled = (median(rounds, "postern", phase, "p99") for phase in ("healthy", "settled"))
        floor = median(rounds, "omniscient", "settled", "p99") / median(rounds, "omniscient", "healthy", "p99")
        avoidable = avoidable_of(rounds, "postern")
        if key in "agj":
            add(key, settled <= 1.3 * healthy, f"p99 from the third interval on is {settled / healthy:.2f} of the "
                f"healthy one (aim 1.3; omniscient {floor:.2f})")
        if key == "b":
            off = statistics.median(r["queue"]["share_off_by_points"] for r in rounds)
            turns = statistics.median(r["queue"]["weight_turns"] for r in rounds)
            add(key, off <= 10, f"share of new mail at most {off:.1f} points off the weight's share (aim 10)")
            add(key, turns <= 2, f"the weight turned {turns:.0f} times (aim 2)")
        if key in "cdhi":
            add(key, avoidable == 0, f"{avoidable:.0f} failed sessions but those past login or hand-over (aim 0)")
        if key == "g":
            was, is_now = (statistics.median(r["contenders"]["postern"][p]["b1_share"]["smtp"] for r in rounds)
                           for p in ("healthy", "settled"))
            add(key, abs(was - is_now) <= 0.04, f"its share of SMTP was {was:.1%}, is {is_now:.1%}")
        for rival in ("leastconn", "roundrobin"):
            theirs = median(rounds, rival, "settled", "p99")
            theirs_failed = avoidable_of(rounds, rival)
            is_met = settled <= 1.1 * theirs and avoidable <= theirs_failed
            add(key, is_met, f"against HAProxy {rival}: settled p99 {settled:.0f} to {theirs:.0f} ms, "
                f"failed, not past login or hand-over {avoidable:.0f} to {theirs_failed:.0f}")
    return said


COLOURS = {"postern": "#0b6e4f", "leastconn": "#c8553d", "roundrobin": "#e0a458", "omniscient": "#8a8f98"}


def plot(rounds_of, titles):
    """Small multiples: by second of arrival the 95th percentile of completion (log scale), medians of all rounds."""
    width, height, left, top, columns = 430, 190, 48, 64, 2
    keys = list(rounds_of)
    rows = (len(keys) + columns - 1) // columns
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {columns * width + 20} {rows * height + top + 10}" '
           'font-family="sans-serif" font-size="11">', '<rect width="100%" height="100%" fill="white"/>',
           '<text x="12" y="22" font-size="15">95th percentile of session completion by second of arrival, ms (log '
           'scale); the fault lasts from 10 s to 25 s</text>']
    for i, name in enumerate(NAMES):
        out.append(f'<rect x="{12 + 170 * i}" y="34" width="18" height="4" fill="{COLOURS[name]}"/>'
                   f'<text x="{36 + 170 * i}" y="40">{TITLES[name]}</text>')
    low, high = math.log10(200), math.log10(24000)
    for i, key in enumerate(keys):
        x0, y0 = (i % columns) * width + left, top + (i // columns) * height + 14
        w, h = width - left - 12, height - 46
        seconds = len(rounds_of[key][0]["contenders"]["postern"]["by_second"])

        def y_of(ms):
            return y0 + h - h * (min(high, max(low, math.log10(ms))) - low) / (high - low)
        out.append(f'<text x="{x0}" y="{y0 - 5}" font-size="12">({key}) {titles[key]}</text>')
        out.append(f'<rect x="{x0 + w * 10 / seconds:.1f}" y="{y0}" width="{w * 15 / seconds:.1f}" height="{h}" '
                   'fill="#f3efe6"/>')
        for ms in (200, 500, 1000, 2000, 5000, 10000, 20000):
            out.append(f'<line x1="{x0}" x2="{x0 + w}" y1="{y_of(ms):.1f}" y2="{y_of(ms):.1f}" stroke="#ddd"/>'
                       f'<text x="{x0 - 5}" y="{y_of(ms) + 4:.1f}" text-anchor="end" fill="#555">{ms}</text>')
        for at in (0, 10, 25, 35):
            out.append(f'<text x="{x0 + w * at / seconds:.1f}" y="{y0 + h + 14}" text-anchor="middle" '
                       f'fill="#555">{at} s</text>')
        for name in reversed(NAMES):
            points = []
            for second in range(seconds):
                values = [r["contenders"][name]["by_second"][second] for r in rounds_of[key]]
                values = [v for v in values if v is not None]
                if values:
                    points.append(f"{x0 + w * (second + 0.5) / seconds:.1f},{y_of(statistics.median(values)):.1f}")
            out.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="{COLOURS[name]}" '
                       f'stroke-width="{2 if name == "postern" else 1.4}"/>')
    out.append("</svg>")
    return "\n".join(out) + "\n"


def finish(rounds_of, titles, folder):
    os.makedirs(folder, exist_ok=True)
    text = table(rounds_of, titles) + "\n\n" + "\n".join(aims(rounds_of)) + "\n"
    print(text)
    for name, body in (("decisions.json", json.dumps(rounds_of)), ("table.md", text),
                       ("decisions.svg", plot(rounds_of, titles))):
        with open(os.path.join(folder, name), "w") as out:
            out.write(body)
    print("written:", ", ".join(os.path.join(folder, n) for n in ("decisions.json", "table.md", "decisions.svg")))
    return 0
