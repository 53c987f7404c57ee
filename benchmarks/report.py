"""The table of a comparison, from the results that compare.py has written."""

import statistics

OURS = "autoglm"


def title(case):
    """What a case is called."""
    work = case["work"]
    match work["work"]:
        case "prefill":
            kind = f"prefill {work['tokens']}"
        case "decode":
            kind = f"decode at depth {work['depth']}" if work["depth"] else "decode"
        case "sequences":
            kind = f"{work['sequences']} sequences decoding"
        case "first-token":
            kind = f"first token, new prefix of {work['prefix']}"
        case "next-first-token":
            kind = f"first token, known prefix of {work['prefix']}"
        case "clients":
            kind = f"{work['clients']} clients, known prefix of {work['prefix']}"
        case "score":
            kind = f"records scored a second, {work['records']} records"
    return f"{case['model']}: {kind}" + (", one core busy" if case.get("busy") else "")


def rows_of(results, engine, case, busy):
    """The measured rows of a case by round."""
    found = {}
    for run in results["runs"]:
        key = (run["engine"], run["model"], run["busy"])
        if key != (engine, case["model"], busy):
            continue
        for row in run["found"]["rows"]:
            if case["work"].items() <= row.items():
                found[run["round"]] = row
    return found


def speeds(results, engine, case, busy=None):
    """The median of each round."""
    busy = case.get("busy", False) if busy is None else busy
    rows = rows_of(results, engine, case, busy)
    return {number: statistics.median(row["samples"]) for number, row in rows.items()}


def median_ratio(ours, theirs, is_time):
    """The median over the rounds of how many times faster we are; `None` without a common one."""
    common = ours.keys() & theirs.keys()
    if not common:
        return None
    ratios = [ours[number] / theirs[number] for number in common]
    return statistics.median(1 / ratio if is_time else ratio for ratio in ratios)


def share(results, case):
    """The median share of the machine's limit."""
    rows = rows_of(results, OURS, case, case.get("busy", False)).values()
    shares = [row["limit"]["share"] for row in rows if row.get("limit")]
    return statistics.median(shares) if shares else None


class Line:
    """One case with all that was found."""

    def __init__(self, case, results, peers):
        self.case = case
        self.is_time = case["work"]["work"].endswith("first-token")
        self.ours = speeds(results, OURS, case)
        self.theirs = {peer: speeds(results, peer, case) for peer in peers}
        self.ratios = {peer: median_ratio(self.ours, found, self.is_time)
                       for peer, found in self.theirs.items()}
        self.share = share(results, case)
        undisturbed = speeds(results, OURS, case, busy=False)
        self.own = median_ratio(self.ours, undisturbed, False) if case.get("busy") else None

    def best(self):
        """The ratio to the fastest peer."""
        known = [ratio for ratio in self.ratios.values() if ratio is not None]
        return min(known) if known else None

    def reached(self, target):
        """What was reached of a target, in its own unit."""
        match target:
            case "best":
                return self.best()
            case "share":
                return self.share
            case "own":
                return self.own
            case "ms":
                return statistics.median(self.ours.values()) if self.ours else None
            case peer:
                return self.ratios.get(peer)

    def verdicts(self):
        """For each target what is wanted, and whether it is met."""
        for name, wanted in self.case["targets"].items():
            reached = self.reached(name)
            met = "?"
            if reached is not None:
                met = "yes" if (reached <= wanted if name == "ms" else reached >= wanted) else "no"
            yield told(name, wanted), met

    def cells(self):
        def now(found):
            return number(statistics.median(found.values())) if found else "–"

        unit = " ms" if self.is_time else ""
        cells = [title(self.case), now(self.ours) + unit]
        for peer, found in self.theirs.items():
            ratio = self.ratios[peer]
            cells.append(now(found) + unit + (f" ({ratio:.2f} ×)" if ratio else ""))
        best = self.best()
        cells.append(f"**{best:.2f} ×**" if best else "–")
        part = self.share if self.own is None else self.own
        cells.append("–" if part is None else f"{100 * part:.0f} %")
        verdicts = list(self.verdicts())
        cells.append("; ".join(wanted for wanted, _ in verdicts))
        cells.append("; ".join(met for _, met in verdicts))
        return cells


def told(name, wanted):
    """A target in words."""
    match name:
        case "best":
            return f"{wanted} × the best"
        case "share":
            return f"{100 * wanted:.0f} % of the limit"
        case "own":
            return f"{100 * wanted:.0f} % of undisturbed"
        case "ms":
            return f"at most {wanted} ms"
        case peer:
            return f"{wanted} × {peer}"


def number(value):
    """Three figures, the first of them never rounded away."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f}"


def machines(results):
    """The limits of the machine in the median of all our runs, and the engines' versions."""
    ours = [run["found"] for run in results["runs"] if "machine" in run["found"]]
    if not ours:
        return "Nothing was measured."
    read = statistics.median(found["machine"]["read_bytes_per_second"] for found in ours)
    peak = statistics.median(found["machine"]["integer_operations_per_second"] for found in ours)
    engines = {row["engine"] for run in results["runs"] for row in run["found"]["rows"]
               if "engine" in row}
    days = sorted(run["began"][:10] for run in results["runs"])
    return (f"{days[0]}, {ours[0]['threads']} threads, {ours[0]['machine']['instructions']}, "
            f"{read / 1e9:.1f} GB/s read, {peak / 1e9:.0f} billion integer operations a second; "
            f"{', '.join(sorted(engines)) or 'no peer'}.")


def table(cases, results, peers):
    """The comparison in Markdown."""
    header = ["tokens per second", "AutoGLM", *peers, "to the best", "share", "target", "met"]
    lines = [header, ["---"] + ["---:"] * (len(header) - 3) + ["---"] * 2]
    lines += [Line(case, results, peers).cells() for case in cases]
    rows = ["| " + " | ".join(cells) + " |" for cells in lines]
    return machines(results) + "\n\n" + "\n".join(rows)
