"The verdicts' statistics, against statsmodels: an implementation by others"
import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from binreg_nb.claims import NO, OPEN, YES, Part, conclude, contradicted, more
from binreg_nb.ledger import CONFIDENCE, interval


def parts(ps):
    "Parts with these p-values"
    return [Part('a part', 1., 0., 2., 5, NO if p < .025 else OPEN, '', p) for p in ps]


def test_a_claim_is_contradicted_where_holm_rejects_at_least_one_part():
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(40):
        ps = rng.uniform(0, 1, rng.integers(1, 12))**rng.uniform(1, 6)
        holm = multipletests(ps, (1 - CONFIDENCE)/2, method='holm')[0].any()
        assert contradicted(parts(ps)) == holm, ps
        assert conclude('C1', parts(ps), '').verdict == (NO if holm else OPEN)
        seen.add(bool(holm))
    assert seen == {True, False}


@pytest.mark.parametrize('n', (3, 5, 12))
def test_intervals_and_p_values_are_the_paired_test_of_others(n):
    rng = np.random.default_rng(n)
    a, b = rng.normal(70, 1, n), rng.normal(69, 1, n)
    theirs = DescrStatsW(a - b)
    np.testing.assert_allclose(interval(a - b)[1:3], theirs.tconfint_mean(1 - CONFIDENCE))
    np.testing.assert_allclose(interval(a - b)[1:3], stats.ttest_rel(a, b).confidence_interval(.95))
    np.testing.assert_allclose(more('', a - b).p, theirs.ttest_mean(0, 'smaller')[1])


def test_a_part_that_no_seed_denies_is_reproduced():
    assert more('', [1., 1.1, .9]).verdict == YES
