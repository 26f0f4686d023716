"""Who was kept when, as a page shows it: heat maps, and the samples kept most and least."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from prune_env.experiment import charts, heatmap
from prune_env.experiment.gallery import Gallery, embedded, gallery
from prune_env.experiment.records import Record
from prune_env.experiment.selections import Kept, Selections

_SHOWN = 12  # samples of each kind
Find = Callable[[Record, Selections], Gallery | str]


def view(
    agents: Mapping[str, Sequence[Record]],
    kept: Kept,
    settings: Mapping[str, Any],
    *,
    samples: bool = True,
) -> dict[str, Any]:
    """What the page shows of one condition's selections.

    Args:
        agents: its episodes by agent, in the order of the page.
        kept: the selections of those of which they are there.
        settings: of the folder.
        samples: whether the samples themselves are looked up and shown.

    Returns:
        `maps` and `maps_about`, `galleries` and `gallery_about`, and `kept_notes`: sentences on
        what there is not.
    """
    shown, notes = _chosen(agents, kept)
    if not shown:
        return {"maps": [], "galleries": [], "kept_notes": notes}
    found: Gallery | str = "they were not asked for"
    if samples:
        record = next(iter(shown.values()))
        found = gallery(record, kept[record.key], settings)
    names = found.class_names if isinstance(found, Gallery) else ()
    maps = [_map(name, kept[record.key], names) for name, record in shown.items()]
    seeds = sorted({record.seed for record in shown.values()})
    of_seed = f"Seed {', '.join(map(str, seeds))}."
    made = {"maps": maps, "maps_about": f"{of_seed} {_order(kept, shown)}"}
    galleries, why = _galleries(shown, kept, found)
    about = f"{of_seed} Of samples kept equally often the first by their random order are shown."
    return made | {"galleries": galleries, "gallery_about": about, "kept_notes": notes + why}


def _chosen(
    agents: Mapping[str, Sequence[Record]], kept: Kept
) -> tuple[dict[str, Record], list[str]]:
    """An episode of each agent, of one seed where possible, and whose selections are not there."""
    there = {
        name: {record.seed: record for record in records if record.key in kept}
        for name, records in agents.items()
    }
    missing = [name for name, episodes in there.items() if not episodes]
    notes = []
    if missing:
        notes.append(
            f"Of {', '.join(missing)} it was not kept which samples were selected: the episodes "
            "are of an earlier version, or their files in kept/ were removed."
        )
    held = {name: episodes for name, episodes in there.items() if episodes}
    shared = set.intersection(*(set(one) for one in held.values())) if held else set()
    return {name: one[min(shared or one)] for name, one in held.items()}, notes


def _order(kept: Kept, shown: Mapping[str, Record]) -> str:
    some = kept[next(iter(shown.values())).key]
    text = (
        "A row is some samples, a column an epoch; those kept most often come first, class by "
        "class where classes are few."
    )
    if some.num_wrong_labels:
        text += (
            f" Below are the {some.num_wrong_labels:,} of {some.num_samples:,} samples whose "
            "labels the scenario made wrong."
        )
    return text


def _map(agent: str, selections: Selections, names: Sequence[str]) -> dict[str, str]:
    image = charts.heat_map(heatmap.blocks(selections), names)
    times = selections.mask.sum(axis=0)
    epochs = len(selections.bits)
    never = int((times == 0).sum())
    always = int((times == epochs).sum())
    caption = f"{never:,} of {selections.num_samples:,} samples never, {always:,} always"
    alt = f"Heat map of which samples {agent} kept in each of {epochs} epochs: {caption}"
    wrong = selections.mislabelled
    if wrong.any():
        shares = [100 * float(times[kind].mean()) / epochs for kind in (~wrong, wrong)]
        said = f"kept on average: right labels {shares[0]:.0f} %, wrong labels {shares[1]:.0f} %"
        caption, alt = f"{caption}; {said} of epochs", f"{alt}; {said} of epochs"
    return {
        "agent": agent,
        "image": embedded(image.encode(), "image/svg+xml"),
        "caption": caption,
        "alt": alt,
    }


def _galleries(
    shown: Mapping[str, Record], kept: Kept, found: Gallery | str
) -> tuple[list[dict[str, Any]], list[str]]:
    """The samples of each agent, and sentences on those that there are not."""
    if isinstance(found, str):
        return [], [f"The samples themselves are left out: {found}."]
    if not (found.are_pictures or found.are_rows):
        return [], ["The samples themselves are left out: they are no pictures and no short rows."]
    made, alike = [], []
    for name, record in shown.items():
        selections = kept[record.key]
        chosen = heatmap.extremes(selections, _SHOWN)
        if chosen is None:
            alike.append(name)
        elif record.seed != next(iter(shown.values())).seed:
            continue  # the samples that were read are another seed's
        else:
            titles = ("kept most", "kept least")
            sides = [_side(*pair, selections, found) for pair in zip(titles, chosen, strict=True)]
            made.append({"agent": name, "sides": sides})
    notes = [f"{', '.join(alike)} kept every sample equally often."] if alike else []
    return made, notes


def _side(
    title: str, indices: np.ndarray, selections: Selections, found: Gallery
) -> dict[str, Any]:
    times, epochs = selections.mask.sum(axis=0), len(selections.bits)
    pictures = found.pictures(indices) if found.are_pictures else [None] * len(indices)
    rows = [None] * len(indices) if found.are_pictures else found.rows(indices)
    labelled = found.split.num_classes > 1
    samples = []
    for index, image, text in zip(indices.tolist(), pictures, rows, strict=True):
        label = found.name_of(int(selections.labels[index])) if labelled else f"sample {index}"
        wrong = bool(selections.mislabelled[index])
        truth = "target of another sample"
        if labelled:
            truth = f"truly {found.name_of(int(selections.true_labels[index]))}"
        said = (f"labelled {label}" if labelled else label) + (f", {truth}" if wrong else "")
        count = f"{int(times[index])} of {epochs}"
        samples.append(
            {
                "image": image,
                "text": text,
                "label": label,
                "wrong": wrong,
                "truth": truth,
                "times": count,
                "alt": f"{said}, kept in {count} epochs",
            }
        )
    num_wrong = int(selections.mislabelled[indices].sum())
    about = f"{title}, in {float(times[indices].mean()):.1f} of {epochs} epochs on average"
    if selections.num_wrong_labels:
        about += f"; {num_wrong} of {len(indices)} wrongly labelled"
    return {"title": about, "samples": samples, "rows": not found.are_pictures}
