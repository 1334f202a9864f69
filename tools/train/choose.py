"""Says which of two measured candidates is better, by the plain mean of five dev figures.

choose.py FOLDER      reads FOLDER/raw.json and FOLDER/ema.json; makes FOLDER/imago-small-1
"""

import json
import shutil
import sys

FIGURES = ["trained_top1", "foreign_top1", "neighbours", "hit10", "composition_r1"]


def main():
    folder = sys.argv[1]
    means = {}
    for name in ("raw", "ema"):
        with open(f"{folder}/{name}.json", encoding="utf-8") as f:
            summary = json.load(f)["summary"]
        means[name] = sum(summary[k] for k in FIGURES) / len(FIGURES)
        print(name, {k: summary[k] for k in FIGURES}, f"mean {means[name]:.2f}")
    best = max(means, key=means.get)
    shutil.rmtree(f"{folder}/imago-small-1", ignore_errors=True)
    shutil.copytree(f"{folder}/{best}", f"{folder}/imago-small-1")
    print(f"{folder}/imago-small-1 holds the {best} weights")


if __name__ == "__main__":
    main()
