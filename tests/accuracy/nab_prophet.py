"""Python Prophet on one NAB series, causal: fitted on the rows before each of eight evenly spaced points behind probation,
its 99.8 % band forecast to the next. Prints one JSON array, 1 for each row outside its band.

    nab_prophet.py SERIES.csv.gz
"""
import json
import logging
import sys

import numpy as np
import pandas as pd

FITS = 8


def main(path):
    logging.disable(logging.CRITICAL)
    from prophet import Prophet

    table = pd.read_csv(path)
    rows = pd.DataFrame({"ds": pd.to_datetime(table["timestamp"], unit="s"), "y": table["value"]})
    outside = np.zeros(len(rows), int)
    begin = int(min(0.15 * len(rows), 750))
    points = np.linspace(begin, len(rows), FITS + 1).astype(int)
    for first, end in zip(points, points[1:]):
        np.random.seed(1)
        model = Prophet(interval_width=0.998)
        model.fit(rows[:first])
        band = model.predict(rows[first:end][["ds"]]).drop_duplicates("ds").set_index("ds")
        band = band.loc[rows["ds"][first:end]]
        actual = rows["y"][first:end].to_numpy()
        outside[first:end] = (actual < band["yhat_lower"].to_numpy()) | (actual > band["yhat_upper"].to_numpy())
    print(json.dumps(outside.tolist()))


if __name__ == "__main__":
    main(sys.argv[1])
