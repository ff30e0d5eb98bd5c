"""How alike operations are: against the original's figures, and against all features at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from prejudge.errors import InputError
from prejudge.search.supernet.stacnas.features import EdgeFeatures, FeatureMoments, compare_operations
from prejudge.spaces import space
from prejudge.spaces.darts.candidates import STACNAS_STAGE1
from prejudge.spaces.nn.supernet import uniform
from tests.fills import images


@pytest.mark.parametrize("size", [40, 16, 7, 1])
def test_the_moments_of_the_original(golden: Path, size: int) -> None:
    with np.load(golden / "supernets" / "stacnas_features.npz") as stored:
        features = [stored[f"feat{k}"] for k in range(4)]
        expected = {name: stored[name] for name in ("cov_offline", "corr_offline", "means")}
    moments = FeatureMoments(4)
    for start in range(0, 40, size):
        for k in (2, 0, 3, 1):  # as the operations happen to run
            moments.see(k, features[k][start : start + size].reshape(-1, 2, 3, 4))
    assert moments.means is not None and moments.images == 40
    np.testing.assert_allclose(moments.covariance, expected["cov_offline"], rtol=1e-5)
    np.testing.assert_allclose(moments.means, expected["means"], atol=1e-6)
    found = EdgeFeatures(0, 0, ("a", "b", "c", "d"), moments.covariance, moments.means, 40)
    np.testing.assert_allclose(found.correlation, expected["corr_offline"], atol=1e-6)
    assert found.clusters(2) == [0, 0, 0, 1]
    assert found.clusters(3) == [0, 0, 1, 2]  # the original's numbers are 2, 2, 0, 1


def test_what_passes_through_a_supernet() -> None:
    torch.manual_seed(0)
    net = space("darts").supernet(candidates=STACNAS_STAGE1, channels=2, cells=3)
    everything = uniform({kind: [range(5)] * 14 for kind in ("normal", "reduce")})
    batches = [images(1, 6, 16), images(2, 3, 16)]
    for x, _ in batches:
        net(x, everything)
    net.train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = compare_operations(net, everything, batches)
    assert [(f.cell, f.edge) for f in found] == [(c, e) for c in range(3) for e in (0, 13)]
    assert net.training and all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(m._forward_hooks for m in net.modules())

    net.eval()
    first = found[0]
    assert first.operations == STACNAS_STAGE1[:-1] and first.images == 9
    with torch.no_grad():
        x = torch.cat([b for b, _ in batches])
        state = net.cells[0].preprocess0(net.stem(x))
        outputs = [op(state).flatten(1).double() for op in list(net.cells[0]._ops[0]._ops)[:4]]
    deviations = torch.stack([(o - o.mean(0)).flatten() for o in outputs])
    np.testing.assert_allclose(first.covariance, (deviations @ deviations.T).numpy(), rtol=1e-4)
    assert first.correlation.diagonal() == pytest.approx([1] * 4)
    assert first.plane().shape == (4, 2)


def test_what_cannot_be_compared() -> None:
    net = space("darts").supernet(candidates=STACNAS_STAGE1, channels=2, cells=3)
    everything = uniform({kind: [range(5)] * 14 for kind in ("normal", "reduce")})
    with pytest.raises(InputError, match="no cell 3 with an edge 0"):
        compare_operations(net, everything, [images(1)], cells=[3])
    with pytest.raises(InputError, match="no image passed through all operations of edge 0 of cell 0"):
        compare_operations(net, everything, [])
    with pytest.raises(InputError, match="no cell 0 with an edge 0"):
        compare_operations(space("nasbench201").supernet(channels=2, cells=1), everything, [images(1)], cells=[0])
    constant = EdgeFeatures(0, 0, ("a", "b"), np.diag([0.0, 1.0]), np.zeros((2, 3)), 1)
    assert constant.correlation.tolist() == [[0, 0], [0, 1]]
    with pytest.raises(InputError, match="2 operations make 1 to 2 clusters, not 3"):
        constant.clusters(3)
