"""Agreement of raters against scikit-learn, published examples and hand computation; the joint session."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from ChiSepExtension.errors import InputError
from ChiSepExtension.lesions.agreement import UNDEFINED, agreement_text, compare, compare_repeats
from ChiSepExtension.lesions.codebook import codebook_from_json, load_codebook
from ChiSepExtension.lesions.coefficients import (
    clustered_bootstrap,
    cohen_kappa,
    confusion_matrix,
    gwet_ac1,
    icc_2_1,
    pabak,
    positive_negative_agreement,
    wilson_interval,
)
from ChiSepExtension.lesions.commands import agree_command
from ChiSepExtension.lesions.consensus import UNRESOLVED, Consensus, discordant
from ChiSepExtension.lesions.rating_tables import RatedLesion, RatingTable, read_ratings, write_ratings
from ChiSepExtension.lesions.ratings import Rating

BOOK = load_codebook()
PARA = BOOK["para"].order


def table(rater: str, codes: list[dict[str, str]], patients: int = 10, **first) -> RatingTable:
    """One row per entry; lesion n is of patient n modulo ``patients``; ``first`` changes the first rating."""
    rows = []
    for n, entry in enumerate(codes):
        rating = Rating(f"2.25.{1000 + n}", codes=entry, **(first if n == 0 else {}))
        rows.append(RatedLesion(f"C{n % patients:03d}", f"P{n % patients:02d}", rating))
    return RatingTable(rater, BOOK, tuple(rows))


def f3(n: int = 250, differences: int = 4, seed: int = 0) -> tuple[list[dict], list[dict]]:
    """F3: codes of two raters with few differences, among them one of two steps and one with "na"."""
    generator = np.random.Generator(np.random.PCG64(seed))
    para = generator.choice(PARA, n, p=[0.2, 0.5, 0.15, 0.12, 0.03])
    dia = generator.choice(BOOK["dia"].order, n, p=[0.8, 0.15, 0.03, 0.02])
    a = [{"para": str(x), "dia": str(y), "prl": "yes" if x == "rim" else "no"} for x, y in zip(para, dia)]
    b = [dict(entry) for entry in a]
    other = {"hypo": "hyper", "iso": "hypo", "hyper": "rim", "rim": "hyper", "na": "iso"}
    for row in generator.choice(n, differences, replace=False):
        b[row]["para"] = other[b[row]["para"]]
    return a, b


def field(agreement, name: str, with_na: bool = False):
    return next(f for f in agreement.fields if f.field == name and f.with_na == with_na)


@pytest.mark.parametrize("differences", [4, 60])
@pytest.mark.parametrize("name", ["para", "dia", "prl"])
def test_a40_kappa_equals_scikit_learn(differences, name):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the oracle of this test")
    a, b = f3(differences=differences)
    if name == "dia":
        b[0]["dia"], b[1]["dia"] = "hyper", "iso"
    result = compare(table("AB", a), table("CD", b), resamples=10)
    for with_na in (True, False):
        order = [c for c in BOOK[name].order if with_na or c != "na"]
        pairs = [(x[name], y[name]) for x, y in zip(a, b) if with_na or "na" not in (x[name], y[name])]
        expected = metrics.cohen_kappa_score(*zip(*pairs), labels=order)
        assert field(result, name, with_na).kappa.value == pytest.approx(expected, abs=1e-12)
        assert field(result, name, with_na).n == len(pairs)
    if name != "prl":
        scale = ["hypo", "iso", "hyper"]
        pairs = [(x[name], y[name]) for x, y in zip(a, b) if x[name] in scale and y[name] in scale]
        expected = metrics.cohen_kappa_score(*zip(*pairs), labels=scale, weights="linear")
        assert field(result, name).linear.value == pytest.approx(expected, abs=1e-12)


def test_linear_weights_follow_the_codebook_not_the_alphabet():
    """hypo-hyper is two steps although "hyper" < "hypo" < "iso" in the alphabet."""
    a, b = ["hypo", "hypo", "iso", "hyper"], ["hypo", "hyper", "iso", "hyper"]
    matrix = confusion_matrix(a, b, ["hypo", "iso", "hyper"])
    # Rows (2, 1, 1), columns (1, 1, 2): mean distance by chance (2 + 8 + 1 + 2 + 2 + 1) / 16 = 1, observed 2 / 4.
    assert cohen_kappa(matrix, linear=True) == pytest.approx(0.5, abs=1e-15)


def test_a41_names_of_categories_do_not_matter():
    generator = np.random.Generator(np.random.PCG64(1))
    matrix = generator.integers(0, 30, (5, 5))
    for _ in range(20):
        p = generator.permutation(5)
        assert cohen_kappa(matrix[np.ix_(p, p)]) == pytest.approx(float(cohen_kappa(matrix)), abs=1e-14)


@pytest.mark.parametrize("code_b", ["hypo", "iso"])
def test_a42_constant_raters_give_undefined_never_0_or_1(code_b):
    a = table("AB", [{"para": "iso", "dia": "hypo"}] * 30)
    b = table("CD", [{"para": "iso", "dia": code_b}] * 30)
    result = compare(a, b)
    kappa = field(result, "dia").kappa
    assert math.isnan(kappa.value) and kappa.interval is None
    text = agreement_text(result)
    assert text.count(f"kappa {UNDEFINED}") == 4  # two fields, with and without na
    assert "kappa 0" not in text and "kappa 1" not in text and "nan" not in text


def test_a42_na_is_left_out_or_counted_as_a_category():
    codes_a = [{"para": "iso", "dia": c} for c in ["hypo"] * 10 + ["iso"] * 8 + ["na"] * 2]
    codes_b = [{"para": "iso", "dia": c} for c in ["hypo"] * 10 + ["iso"] * 8 + ["hypo", "na"]]
    result = compare(table("AB", codes_a), table("CD", codes_b))
    assert (field(result, "dia", False).n, field(result, "dia", False).agreed) == (18, 18)
    assert (field(result, "dia", True).n, field(result, "dia", True).agreed) == (20, 19)


def test_a42_only_na_gives_no_pairs_and_no_crash():
    codes = [{"para": "na", "dia": "na"}] * 5
    text = agreement_text(compare(table("AB", codes), table("CD", codes)))
    assert "no pair of ratings" in text


@pytest.mark.parametrize("agreed, text", [(249, "99.6 % [97.8–99.9]"), (246, "98.4 % [96.0–99.4]")])
def test_a43_published_shares_are_printed_with_their_wilson_interval(agreed, text):
    a = [{"para": "iso", "dia": "hypo" if n % 2 else "iso"} for n in range(250)]
    b = [dict(x, dia="hyper") if n >= agreed else x for n, x in enumerate(a)]
    assert f"identical {agreed}/250: {text}" in agreement_text(compare(table("AB", a), table("CD", b), resamples=50))


def test_wilson_interval_of_a_textbook_example():
    """Newcombe, Stat Med 1998;17:857, table I: 81/263 gives 0.2553 to 0.3662."""
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_a44_row_order_does_not_matter():
    a, b = f3()
    turned = table("CD", b)
    turned = replace(turned, rows=turned.rows[::-1])
    one, other = compare(table("AB", a), table("CD", b)), compare(table("AB", a), turned)
    assert agreement_text(one) == agreement_text(other)


def test_a44_other_lesions_are_refused_with_numbers():
    a, b = f3()
    with pytest.raises(InputError, match=r"1 only in the first, 0 only in the second.*2\.25\.1249"):
        compare(table("AB", a), table("CD", b[:-1]))


def test_a44_other_codebook_is_refused():
    a, b = f3()
    content = json.loads(json.dumps(BOOK.content))
    content["version"] = "1.1"
    with pytest.raises(InputError, match=r"different codebooks.*1\.0.*1\.1"):
        compare(table("AB", a), replace(table("CD", b), codebook=codebook_from_json(content)))


def test_a45_interval_is_reproducible_by_its_seed():
    a, b = f3(differences=30)
    first, second, third = (compare(table("AB", a), table("CD", b), seed=s) for s in (5, 5, 6))
    assert field(first, "para").kappa.interval == field(second, "para").kappa.interval
    assert field(first, "para").kappa.interval != field(third, "para").kappa.interval


def test_a45_interval_is_clustered_by_patient():
    """Ten patients whose 20 lesions are all alike tell no more than ten lesions: the interval is about sqrt(20) wider.

    All disagreement lies in three of ten patients.
    """
    agree, differ = np.diag([10, 10]), np.array([[10, 0], [10, 0]])
    patients = np.stack([agree] * 7 + [differ] * 3)
    lesions = np.concatenate(
        [np.eye(4).reshape(4, 2, 2)[[0] * 10 + [3] * 10]] * 7 + [np.eye(4).reshape(4, 2, 2)[[0] * 10 + [2] * 10]] * 3
    )
    by_patient = clustered_bootstrap(patients, cohen_kappa, seed=1)
    by_lesion = clustered_bootstrap(lesions, cohen_kappa, seed=1)
    assert by_patient.high - by_patient.low > 2 * (by_lesion.high - by_lesion.low)
    assert by_patient.low < float(cohen_kappa(patients.sum(axis=0))) < by_patient.high


def test_one_patient_has_no_interval_and_the_text_says_so():
    a, b = f3()
    text = agreement_text(compare(table("AB", a, patients=1), table("CD", b, patients=1)))
    assert "no interval" in text and "one patient" in text


def test_prevalence_paradox_98_percent_agreement_and_kappa_half():
    """2 % prevalence: raw 0.98, kappa 0.49, PABAK 0.96; AC1 = (0.98 - pe) / (1 - pe) with pe = 2 p (1 - p)."""
    matrix = np.array([[1, 1], [1, 97]])
    assert float(cohen_kappa(matrix)) == pytest.approx(0.4898, abs=1e-4)
    assert float(pabak(matrix)) == pytest.approx(0.96, abs=1e-12)
    chance = 2 * 0.02 * 0.98
    assert float(gwet_ac1(matrix)) == pytest.approx((0.98 - chance) / (1 - chance), abs=1e-12)
    assert positive_negative_agreement(matrix, 0) == pytest.approx((2 / 4, 194 / 196))


def test_cohens_own_example():
    """Cohen 1960, table 1 (proportions of 200): kappa 0.492 is printed there with po 0.70, pc 0.41."""
    matrix = np.array([[88, 14, 18], [10, 40, 10], [2, 6, 12]])
    assert float(cohen_kappa(matrix)) == pytest.approx((0.70 - 0.41) / 0.59, abs=1e-12)


def test_icc_of_shrout_and_fleiss():
    """Shrout and Fleiss 1979, table 2: six targets, four judges; ICC(2,1) is printed as 0.29."""
    judges = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    assert icc_2_1(np.array(judges)) == pytest.approx(0.2898, abs=5e-5)


def test_icc_by_hand_and_undefined():
    """Counts (1,1), (2,3), (4,4): BMS 9/2, EMS 1/6, JMS 1/6: (27/6 - 1/6) / (27/6 + 1/6 + 0) = 26/28."""
    assert icc_2_1(np.array([[1, 1], [2, 3], [4, 4]])) == pytest.approx(26 / 28, abs=1e-12)
    assert math.isnan(icc_2_1(np.array([[2, 2], [2, 2]]))) and math.isnan(icc_2_1(np.array([[1, 2]])))


def test_rim_lesions_per_patient_enter_the_icc():
    a, b = f3()
    result = compare(table("AB", a), table("CD", b))
    assert result.rim_count_icc.value == pytest.approx(1.0)  # F3 changes para, not prl
    assert "Rim lesions per patient: ICC(2,1) 1.000" in agreement_text(result)


def test_excluded_lesions_leave_the_agreement_and_are_counted():
    a, b = f3()
    result = compare(table("AB", a, excluded="motion"), table("CD", b))
    assert (result.n_lesions, result.excluded) == (249, 1)


def test_reader_against_himself_uses_the_hidden_repeats():
    a, _ = f3(n=40)
    rows = table("AB", a).rows
    again = tuple(replace(row, rating=replace(row.rating, repeat=True)) for row in rows[:8])
    again = (replace(again[0], rating=replace(again[0].rating, codes={**a[0], "dia": "na"})), *again[1:])
    result = compare_repeats(RatingTable("AB", BOOK, rows + again))
    assert (field(result, "dia", True).n, field(result, "dia", True).agreed) == (8, 7)
    assert "fewer than 20 pairs" in agreement_text(result)


def written(tmp_path, rater: str, codes: list[dict]):
    return write_ratings(tmp_path / f"rater-{rater}_ratings.tsv", table(rater, codes))[0]


def test_agree_command_reads_tables_and_prints_the_panel(tmp_path):
    a, b = f3()
    paths = written(tmp_path, "AB", a), written(tmp_path, "CD", b)
    result = agree_command(*paths, output=tmp_path / "agreement.json")
    assert result.exit_code == 0 and "246/250" in result.text and "Raters AB and CD" in result.text
    record = json.loads((tmp_path / "agreement.json").read_text())
    para = next(f for f in record["fields"] if f["field"] == "para" and f["with_na"])
    assert para["agreed"] == 246 and np.sum(para["matrix"]) == 250


def test_tables_read_back_as_written(tmp_path):
    a, _ = f3()
    assert read_ratings(written(tmp_path, "AB", a)).rows == table("AB", a).rows


def test_code_changed_by_hand_is_found_with_its_line(tmp_path):
    a, _ = f3(n=5)
    path = written(tmp_path, "AB", a)
    text = path.read_text().splitlines()
    text[3] = text[3].replace("\t" + a[2]["dia"] + "\t", "\tdark\t")
    path.write_text("\n".join(text) + "\n")
    with pytest.raises(InputError, match="dark"):
        read_ratings(path)


def test_lesion_that_stands_twice_is_refused(tmp_path):
    a, _ = f3(n=5)
    path = written(tmp_path, "AB", a)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[1]]) + "\n")
    with pytest.raises(InputError, match="stands twice"):
        read_ratings(path)


def test_discordant_list_holds_every_difference_and_the_flagged():
    a, b = f3()
    found = discordant(table("AB", a, flag=True), table("CD", b))
    assert sum(d.cause == "discordant" for d in found) == 4
    assert {(d.field, d.uid) for d in found if d.cause == "flagged"} <= {("para", "2.25.1000"), ("dia", "2.25.1000")}
    assert any(d.cause == "flagged" for d in found)


def test_consensus_leaves_the_rater_files_untouched_and_resumes(tmp_path):
    a, b = f3()
    paths = written(tmp_path, "AB", a), written(tmp_path, "CD", b)
    before = [path.read_bytes() for path in paths]
    session = Consensus(tmp_path / "consensus.tsv", *map(read_ratings, paths))
    first, second, *rest = session.decisions
    session.resolve(first.uid, first.field, first.a, by="AB+CD", reason='agreed\t"on" 한글')
    session.resolve(second.uid, second.field, UNRESOLVED, by="EF")
    again = Consensus(tmp_path / "consensus.tsv", *map(read_ratings, paths))
    assert again.decisions == session.decisions and len(again.open) == len(rest) == 2
    assert again.decisions[0].reason == 'agreed\t"on" 한글'
    assert [path.read_bytes() for path in paths] == before


def test_consensus_refuses_a_code_that_does_not_exist(tmp_path):
    a, b = f3()
    session = Consensus(tmp_path / "consensus.tsv", table("AB", a), table("CD", b))
    with pytest.raises(InputError, match="no code"):
        session.resolve(session.open[0].uid, session.open[0].field, "maybe", by="AB")


def test_one_sided_exclusion_is_discordant():
    a, b = f3(differences=0)
    (decision,) = discordant(table("AB", a, excluded="motion"), table("CD", b))
    assert (decision.field, decision.a, decision.b) == ("excluded", "yes", "no")
