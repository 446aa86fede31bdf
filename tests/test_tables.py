"""Tables: columns as numbers and back, sets as CSV files, learners of scikit-learn beside networks."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import ddcore
from ddcore import BadArtefact, BadData, DistilledSet, Host, RecipeRefused
from ddcore import plugin as dd
from ddcore.cli import app
from ddcore.columns import decoded, described, encoded, read
from ddcore.testing import tiny_images, tiny_vectors

TREE, LINEAR = dd.Boosting(trees=5), dd.Linear()
QUICK = ddcore.Protocol(networks=(ddcore.MLP(),), estimators=(TREE, LINEAR), augment=None, steps=5, repeats=2)


def people(n=60, seed=0):
    """Rows with numbers, of which some are missing, categories, and two targets that follow from them."""
    random = np.random.default_rng(seed)
    age = random.integers(18, 80, n).astype(float)
    town = random.choice(["Ulm", "Bonn", ""], n)
    wage = 100 * age + 500 * (town == "Ulm")
    age[random.random(n) < 0.1] = np.nan
    return {"age": age, "town": list(town), "wage": wage, "rich": np.where(wage > 5000, "yes", "no")}


@pytest.fixture(scope="module")
def host():
    return Host()


@pytest.fixture(scope="module")
def wages():
    return dd.table("people", people(), people(seed=1), target="wage", skip=["rich"])


# --- columns


names = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=4)
categories = st.lists(names, min_size=2, max_size=20).filter(lambda v: any(not t.isnumeric() for t in v))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20), categories)
def test_columns_come_back_as_they_were(numbers, texts):
    numbers, texts = (np.resize(values, max(len(numbers), len(texts))) for values in (numbers, texts))
    table = {"x": read(numbers), "c": read(texts)}
    columns = [described(name, values) for name, values in table.items()]
    found = encoded(columns, table)
    assert found.shape == (len(numbers), sum(column.width for column in columns))
    again = decoded(columns, found)
    assert again["x"] == pytest.approx(numbers.astype(np.float32).tolist())
    assert read(again["c"]).tolist() == table["c"].tolist()


def test_missing_numbers_become_the_median_and_missing_texts_a_category():
    table = {"x": read(["1", "", "3", "NA"]), "c": read(["a", None, "b", "?"])}
    columns = [described(name, values) for name, values in table.items()]
    assert columns == [dd.Column("x", fill=2.0), dd.Column("c", ("", "a", "b"))]
    assert encoded(columns, table).tolist() == [[1, 0, 1, 0], [2, 1, 0, 0], [3, 0, 0, 1], [2, 1, 0, 0]]
    unknown = encoded(columns, {"x": read([5]), "c": read(["z"])})
    assert unknown.tolist() == [[5, 0, 0, 0]]


def test_numbers_that_name_categories():
    column = described("year", read([2, 1, 2.5]), categorical=True)
    assert column.categories == ("1", "2", "2.5")
    assert decoded([column], encoded([column], {"year": read([2])}))["year"] == ["2"]


# --- tables as data


def test_a_table_is_vectors_that_know_their_columns(wages):
    assert (wages.card.kind, wages.card.shape, wages.card.values) == ("vector", (4,), 1)
    assert [column.name for column in wages.card.columns] == ["age", "town"]
    assert float(wages.train.targets.mean()) == pytest.approx(0, abs=1e-5)
    assert float(wages.train.targets.std(correction=0)) == pytest.approx(1, abs=1e-5)
    assert "Missing numbers became the median: age" in " ".join(wages.notes)
    assert "Columns of categories: town (3)" in " ".join(wages.notes)


def test_what_the_target_shows():
    classes = dd.table("people", people(), target="rich")
    assert (classes.card.class_names, classes.card.values) == (("no", "yes"), None)
    rows = {"x": np.arange(40.0), "y": np.arange(40) % 3}
    assert dd.table("rows", rows, target="y").card.class_names == ("0", "1", "2")
    assert dd.table("rows", rows, target="y", predicts="value").card.values == 1
    assert dd.table("rows", {**rows, "y": np.arange(40) / 3}, target="y").card.values == 1


@pytest.mark.parametrize(
    ("named", "rows", "columns", "classes"),
    [("breast_cancer", 569, 30, 2), ("diabetes", 442, 10, None), ("iris", 150, 4, 3), ("wine", 178, 13, 3)],
)
def test_the_tables_of_scikit_learn(named, rows, columns, classes):
    data, other = (dd.ScikitTable(named, test=0.25, seed=seed).load() for seed in (0, 1))
    assert (len(data.train) + len(data.test), data.card.shape) == (rows, (columns,))
    assert len(data.test) == -(-rows // 4)
    assert data.train.content != other.train.content == dd.ScikitTable(named, test=0.25, seed=1).load().train.content
    if classes is None:
        assert data.card.values == 1
    else:
        train, test = (split.targets.bincount() for split in (data.train, data.test))
        share = (train + test) * len(data.test) / rows
        assert len(data.card.class_names) == classes and (test - share).abs().max() < 1, "drawn class by class"


def test_frames_of_pandas_are_tables(wages):
    pandas = pytest.importorskip("pandas")
    train, test = pandas.DataFrame(people()), pandas.DataFrame(people(seed=1))
    train["town"] = train["town"].replace("", None).astype("category")
    found = dd.table("people", train, test, target="wage", skip=["rich"])
    assert found.card == wages.card
    assert torch.equal(found.train.inputs, wages.train.inputs)


@pytest.mark.parametrize(
    ("changes", "words", "sentence"),
    [
        ({}, {"target": "wages"}, "train has no column 'wages'. It has age, town"),
        ({"town": [f"{i}a" for i in range(300)]}, {"target": "rich"}, "its columns have .60, 300. rows"),
        ({"age": [np.nan] * 60}, {"target": "rich"}, "The column age holds no number"),
        ({"age": [np.inf] * 60}, {"target": "rich"}, "The column age holds infinity"),
        ({"rich": ["yes"] * 59 + ["no"]}, {"target": "rich"}, "no tenth of its 60 rows can be set aside"),
    ],
)
def test_what_is_no_table_has_its_sentence(changes, words, sentence):
    with pytest.raises(BadData, match=sentence):
        dd.table("people", {**people(), **changes}, **words)


def test_a_test_split_must_be_of_the_same_columns_classes_and_numbers():
    rows = people()
    with pytest.raises(BadData, match="train and test differ in the columns age"):
        dd.table("people", rows, {name: held for name, held in rows.items() if name != "age"}, target="rich")
    with pytest.raises(BadData, match="maybe of the column rich is in test and not in train"):
        dd.table("people", rows, {**rows, "rich": ["maybe"] * 60}, target="rich")
    whole = {**rows, "age": np.arange(60.0)}
    with pytest.raises(BadData, match="The column age lacks 1 of 60 numbers"):
        dd.table("people", whole, {**rows, "age": [np.nan, *range(59)]}, target="rich")
    with pytest.raises(BadData, match="The column age is one of numbers, and holds texts such as 'old'"):
        dd.table("people", whole, {**rows, "age": ["old"] * 60}, target="rich")


def test_too_many_categories_are_names():
    with pytest.raises(BadData, match="The column id has 297 categories, of which 256 are the most"):
        dd.table("ids", {"id": [f"i{i}" for i in range(330)], "y": [0, 1] * 165}, target="y")


# --- sets as CSV files


def test_a_distilled_table_is_a_csv_file_in_the_units_of_the_data(host, wages, tmp_path):
    distilled = host.distill(host.recipe("random", kind="vector", ipc=9), wages)
    distilled = DistilledSet.load(distilled.save(tmp_path / "set.safetensors"))
    assert distilled.data == wages.card
    ddcore.export(distilled, tmp_path / "set.csv", "csv", host=host)
    with (tmp_path / "set.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["age", "town", "wage"]
    real = people()
    known = {(town, round(float(wage))) for town, wage in zip(real["town"], real["wage"], strict=True)}
    assert {(row["town"], round(float(row["wage"]))) for row in rows} <= known
    again = ddcore.read_released(tmp_path / "set.csv", wages, host=host)
    torch.testing.assert_close(again.inputs, distilled.inputs, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(again.targets, distilled.targets, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("labels", ["hard", "vectors"])
def test_classes_and_scores_come_back(host, labels, tmp_path):
    data = dd.table("people", people(), people(seed=1), target="rich", skip=["wage"])
    recipe = host.recipe("random", kind="vector", ipc=3, overrides={"labels.name": labels})
    distilled = host.distill(recipe, data)
    ddcore.export(distilled, tmp_path / "set.csv", "csv", host=host)
    scores = None if labels == "hard" else "vectors"
    again = ddcore.read_released(tmp_path / "set.csv", data, scores=scores, host=host)
    torch.testing.assert_close(again.targets, distilled.targets)
    assert "vectors as they are, taken through standardise" in again.warnings[0]


def test_vectors_without_columns_are_numbered_and_images_are_refused(host, tmp_path):
    for data, ipc in ((tiny_vectors(), 1),):
        distilled = host.distill(host.recipe("random", kind="vector", ipc=ipc), data)
        ddcore.export(distilled, tmp_path / "set.csv", "csv", host=host)
        assert (tmp_path / "set.csv").read_text().startswith("x0,x1,")
    images = host.distill(host.recipe("random"), tiny_images())
    with pytest.raises(BadArtefact, match="images under standardise, which are no rows of a table"):
        ddcore.export(images, tmp_path / "images.csv", "csv", host=host)
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(BadArtefact, match="no table with the columns of"):
        ddcore.read_released(tmp_path / "other.csv", data, host=host)


def test_a_csv_file_goes_through_the_front_door(tmp_path):
    path = tmp_path / "people.csv"
    rows = people()
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([list(rows), *zip(*rows.values(), strict=True)])
    words = ["distill", "dm", "--data", path, "--iterations", "3", "--out", tmp_path / "run", "--repeats", "1"]
    words += ["--set", "protocol.estimators=['linear']", "--baselines", "random"]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["scores"]["accuracy"].keys() == {"mlp", "linear"}
    assert "linear" in (tmp_path / "run" / "report.md").read_text()
    done = CliRunner().invoke(app, ["export", str(tmp_path / "run"), str(tmp_path / "set.csv"), "--format", "csv"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "set.csv").read_text().startswith("age,town,wage,rich")


def test_columns_that_do_not_fit_the_items_are_refused(host, wages):
    distilled = host.distill(host.recipe("random", kind="vector"), wages)
    with pytest.raises(BadArtefact, match="its columns take 1 numbers"):
        replace(distilled, data=replace(wages.card, columns=wages.card.columns[:1]))
    with pytest.raises(BadArtefact, match="two of its columns have one name"):
        replace(distilled, data=replace(wages.card, target=dd.Column("age")))


def test_a_run_on_a_table_is_resumed(host, wages, tmp_path):
    recipe = host.recipe("frepo", kind="vector", ipc=2, iterations=3)
    run, again = host.start(recipe, wages), host.start(recipe, wages)
    run.run_until(1)
    torch.save(run.state_dict(), tmp_path / "state.pt")
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    run.run_until()
    again.run_until()
    assert torch.equal(run.export().inputs, again.export().inputs)


# --- learners of scikit-learn, and measures


def test_estimators_are_those_of_scikit_learn():
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression

    data = tiny_vectors()
    scores = ddcore.evaluate(data.train, data, QUICK, preprocess=dd.Identity(), seed=3)["accuracy"]
    x, y = data.train.inputs.numpy(), data.train.targets.numpy()
    shown, right = data.test.inputs.numpy(), data.test.targets.numpy()
    own = LogisticRegression(max_iter=1000).fit(x, y).score(shown, right)
    assert scores["linear"].values == pytest.approx((100 * own,) * 2)
    trees = [GradientBoostingClassifier(n_estimators=5, max_features=0.3, random_state=s).fit(x, y) for s in (3, 4)]
    assert scores["boosting"].values == pytest.approx([100 * tree.score(shown, right) for tree in trees])
    assert len(scores["mlp"].values) == 2


def test_rows_of_targets_are_learned_by_regressions(host, wages):
    from sklearn.linear_model import Ridge
    from sklearn.metrics import r2_score

    protocol = replace(QUICK, measures=(dd.RSquared(),))
    scores = ddcore.evaluate(wages.train, wages, protocol, preprocess=dd.Identity())["r_squared"]
    own = Ridge().fit(wages.train.inputs.numpy(), wages.train.targets[:, 0].numpy())
    expected = r2_score(wages.test.targets[:, 0].numpy(), own.predict(wages.test.inputs.numpy()))
    assert scores["linear"].mean == pytest.approx(expected, abs=1e-4)
    data = tiny_vectors()
    recipe = host.recipe("random", kind="vector", ipc=4, overrides={"labels.name": "vectors", "labels.loss": "squared"})
    rows = ddcore.evaluate(host.distill(recipe, data), data, QUICK)["accuracy"]
    hard = ddcore.evaluate(host.distill(replace(recipe, labels=dd.Hard()), data), data, QUICK)["accuracy"]
    assert rows["linear"].mean == pytest.approx(hard["linear"].mean, abs=20)


def test_a_set_of_one_class_is_learned_as_that_class():
    data = tiny_vectors()
    alone = data.train.subset((data.train.targets == 1).nonzero().flatten())
    scores = ddcore.evaluate(alone, data, QUICK)["accuracy"]
    share = 100 * float((data.test.targets == 1).float().mean())
    assert scores["linear"].mean == scores["boosting"].mean == pytest.approx(share)


def test_two_learners_of_one_name_are_told_apart_and_values_have_their_own_measure(wages):
    several = replace(QUICK, estimators=(dd.Linear(), dd.Linear(penalty=9.0)))
    assert ddcore.evaluate(tiny_vectors().train, tiny_vectors(), several)["accuracy"].keys() == {
        "mlp",
        "linear(penalty=1.0)",
        "linear(penalty=9.0)",
    }
    with pytest.raises(RecipeRefused, match="networks holds the same one twice: mlp, linear, linear"):
        replace(QUICK, estimators=(dd.Linear(), dd.Linear()))
    with pytest.raises(
        RecipeRefused, match="measures = r_squared is for values, and the targets of tiny vectors are classes"
    ):
        ddcore.evaluate(tiny_vectors().train, tiny_vectors(), replace(QUICK, measures=(dd.RSquared(),)))
    with pytest.raises(RecipeRefused, match="measures = accuracy is for classes, .* are values: take .*r_squared"):
        ddcore.evaluate(wages.train, wages, replace(QUICK, measures=(dd.Accuracy(),)))


def test_measures_of_unequal_classes_are_those_of_scikit_learn():
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score

    data = tiny_vectors()
    some = data.train.subset(torch.arange(len(data.train) - 5))
    protocol = replace(QUICK, measures=(dd.BalancedAccuracy(), dd.Auc()), estimators=(LINEAR,), repeats=1)
    scores = ddcore.evaluate(some, replace(data, test=some), protocol, preprocess=dd.Identity())
    from sklearn.linear_model import LogisticRegression

    x, y = some.inputs.numpy(), some.targets.numpy()
    own = LogisticRegression(max_iter=1000).fit(x, y)
    assert scores["balanced_accuracy"]["linear"].mean == pytest.approx(
        100 * balanced_accuracy_score(y, own.predict(x)), abs=1e-4
    )
    each = [roc_auc_score(y == c, own.predict_proba(x)[:, c]) for c in np.unique(y)]
    assert scores["auc"]["linear"].mean == pytest.approx(100 * np.mean(each), abs=1e-3)


# --- baselines


def test_medoids_are_real_and_nearer_than_random_ones():
    generator = torch.Generator().manual_seed(0)
    points = torch.cat([torch.randn(20, 2, generator=generator) + 8 * torch.eye(2)[i] for i in range(2)])
    from ddcore.carriers.picking import medoids

    rows = medoids(points, 2, torch.Generator().manual_seed(1))
    assert sorted((rows >= 20).tolist()) == [False, True]
    for row, part in zip(rows.sort().values, points.split(20), strict=True):
        assert float(torch.cdist(part, points[row][None]).sum()) == pytest.approx(
            float(torch.cdist(part, part).sum(1).min())
        )


@pytest.mark.parametrize("carrier", [dd.KMeans(5), dd.KMedoids(5), dd.Random(5, strata=True)])
def test_rows_of_values_are_chosen_with_their_values(host, wages, carrier):
    recipe = replace(host.recipe("random", kind="vector", ipc=5), name="chosen", synthetic=carrier)
    distilled = host.distill(recipe, wages)
    assert distilled.targets.shape == (5, 1)
    low, high = wages.train.targets.aminmax()
    assert bool((distilled.targets >= low).all()) and bool((distilled.targets <= high).all())
    if isinstance(carrier, dd.Random):
        ranks = torch.searchsorted(wages.train.targets[:, 0].sort().values, distilled.targets[:, 0].contiguous())
        assert sorted((ranks // 12).tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("kind", ["image", "vector"])
@pytest.mark.parametrize("entry", Host().catalogue.of("carrier"), ids=lambda entry: entry.name)
def test_items_begin_with_values_or_the_carrier_is_refused_before_any_work(host, entry, kind):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(60, 1, 16, 16, generator=generator), torch.randn(60, 2, generator=generator)
    items = (x if kind == "image" else x.flatten(1), y)
    data = dd.RealData.of("measured", items, items, kind=kind, white=1.0 if kind == "image" else None)
    chosen = issubclass(entry.maker, dd.Chosen | dd.KMeans | dd.KMedoids)
    recipe = host.recipe("random" if chosen else "dc", kind=kind)
    recipe = replace(recipe, update=replace(recipe.update, lr={"inputs": 0.1, "decoders": 0.1}))
    for init in [{}, {"init": "real"}] if hasattr(entry.maker, "init") else [{}]:
        try:
            run = host.start(replace(recipe, synthetic=entry.maker(12, **init)), data)
        except RecipeRefused:
            continue
        run.run_until(0)
        targets = run.synthetic.everything()[1]
        assert targets.shape == (12, 2) and len(targets.unique(dim=0)) == 12


@pytest.mark.parametrize("carrier", [dd.Cosines(4), dd.Formation(4)], ids=lambda carrier: carrier.part_name())
def test_a_carrier_without_values_is_refused_by_name(host, carrier):
    x, y = torch.rand(20, 1, 16, 16), torch.randn(20)
    recipe = replace(host.recipe("dc"), synthetic=carrier)
    with pytest.raises(RecipeRefused, match="begins its items without values, and the targets of measured"):
        host.start(recipe, dd.RealData.of("measured", (x, y), (x, y), white=1.0))


def test_centres_of_one_cluster_are_the_means_of_the_classes(host):
    data = tiny_vectors()
    recipe = replace(host.recipe("random", kind="vector"), name="centres", synthetic=dd.KMeans(1))
    distilled = host.distill(recipe, data)
    means = torch.stack([data.train.inputs[data.train.targets == c].mean(0) for c in range(data.card.classes)])
    torch.testing.assert_close(distilled.rows(), means, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("test", [1e-4, 0.01, 0.99, 0.9999])
@pytest.mark.parametrize("named", ["breast_cancer", "diabetes", "iris", "wine"])
def test_shares_of_scikit_learns_tables_are_possible_or_refused_with_some_that_are(named, test):
    try:
        assert len(dd.ScikitTable(named, test=test).load().test)
    except BadData as error:
        for share in str(error).removesuffix(".").split("Take a share from ")[1].split(" to "):
            assert len(dd.ScikitTable(named, test=float(share)).load().test)
