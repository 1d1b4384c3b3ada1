"""Singular value decompositions of matrices side by side, by numpy: the reference of src/train/common-basis.test.ts.

Run: python test/reference/common-basis.py > test/reference/common-basis.json
"""

import json

import numpy as np


def matrix(layer, rows, columns):
    i, j = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    return np.cos(1 + 3 * i + 7 * j + i * i * j + 2 * layer * (i + j * j))


def case(count, rows, columns):
    layers = [matrix(layer, rows, columns) for layer in range(count)]
    u, s, vt = np.linalg.svd(np.concatenate(layers, axis=1), full_matrices=False)
    assert np.min(np.abs(np.diff(s))) > 1e-3 * s[0] and s[-1] > 1e-3 * s[0]
    return {
        "count": count,
        "rows": rows,
        "columns": columns,
        "basis": (u * s).ravel().tolist(),
        "factors": [part.ravel().tolist() for part in np.split(vt, count, axis=1)],
    }


print(json.dumps({"numpy": np.__version__, "cases": [case(3, 6, 9), case(2, 9, 4)]}))
