"Bad input, by machine: whatever comes in, a run or one line; never a traceback, nor a file where none was asked for"

import contextlib, io, json, math, os, unicodedata
from dataclasses import asdict, fields
from pathlib import Path

import pytest, yaml
from hypothesis import HealthCheck, given, settings, strategies as st

from binreg_nb.core import InputError
from binreg_nb.runs import RunConfig, broken, failure, finished, make_run_folder, write_json

settings.register_profile(
    'fast',
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)
settings.load_profile('fast')

FIELDS = {f.name: f for f in fields(RunConfig)}
NASTY = [
    *'../../above /absolute .. . / ~nobody-of-that-name/x'.split(),
    'a b',
    *'{x} {0} }{ %s a/b:c mine: :f os:path timm/none'.split(),
    'x' * 300,
    unicodedata.normalize('NFC', 'é' * 9),
    unicodedata.normalize('NFD', 'é' * 9),
    'λ–±',
    '\udcff',
    'a\nb',
    'a\u2028b',
    '',
    *'- -- -1 1e999 nan ٣'.split(),
]
GOOD = dict(
    network=['resnet18', 'mobilenet_v2', 'mine:tiny'],
    method=['fp', 'lsq', 'br', 'kure'],
    w_bits=[1, 2, 8],
    a_bits=[4],
    epochs=[1, 12],
    lam=[0.0, 1.0, 1e6],
    seed=[0, 7],
    negatives=['offset', 'signed'],
    precision=['fp32'],
    device=['cpu'],
    dataset=['digits'],
)

text = st.sampled_from(NASTY) | st.text(st.characters(exclude_characters='\0'), max_size=300)
anything = (
    text
    | st.integers()
    | st.floats()
    | st.booleans()
    | st.none()
    | st.lists(st.integers(), max_size=2)
    | st.just(10**30)
)


def value(name):
    return st.sampled_from(GOOD[name]) | anything if name in GOOD else anything


@st.composite
def settings_of_a_run(draw, names=tuple(FIELDS), most=4):
    names = draw(st.lists(st.sampled_from(names), max_size=most, unique=True))
    return {k: draw(value(k)) for k in names}


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    "A working folder, deep enough that a path could lead out of it"
    d = tmp_path_factory.mktemp('above') / 'a' / 'work'
    d.mkdir(parents=True)
    (d / 'mine.py').write_text(
        'from torch import nn\ndef tiny(num_classes): return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))\n'
    )
    return d


def stand_in(jobs, *args, **kw):
    "What the engine leaves behind, without the training"
    for c, o in jobs:
        if finished(o):
            continue
        make_run_folder(c, o)
        write_json(Path(o) / 'config.json', asdict(c))
        write_json(
            Path(o) / 'metrics.json',
            dict(
                status='ok',
                top1=50.0,
                top5=90.0,
                mse_qe=0.1,
                mbl=0.2,
                seconds=1.0,
                collapsed_steps=[],
            ),
        )
    return {}


@pytest.fixture
def here(place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setattr('binreg_nb.engine.execute', stand_in)
    monkeypatch.setattr('binreg_nb.sweep.measure_epoch', lambda cfg: (1.0, 1000))
    return place


def answer(main, argv):
    "Exit status and errors of a command; anything but an exit is a failure of the test"
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(argv)
        except SystemExit as e:
            code = e.code
    err = err.getvalue()
    assert code in (0, 2), (argv, code, err)
    if code:
        assert (
            err.count('\n') == 1 and err.endswith('\n') and len(err) > 20 and 'Traceback' not in err
        ), (argv, err)
    return code


def files(top):
    return {p for p in Path(top).rglob('*')}


def option(k, v):
    flag = '--' + k.replace('_', '-')
    return (
        [f'{flag}={v}']
        if FIELDS[k].type is not bool
        else [flag if v else flag.replace('--', '--no-', 1)]
    )


@given(settings_of_a_run())
def test_command_lines(here, given):
    from binreg_nb.runs import main

    before, top = files(here.parent.parent), here.parent.parent
    answer(main, ['--quiet', *(o for k, v in given.items() for o in option(k, v))])
    new = files(top) - before
    assert all(here / 'runs' in (p, *p.parents) for p in new), new
    assert all(len(p.relative_to(here / 'runs').parts) <= 2 for p in new if p != here / 'runs'), (
        'a name is no path'
    )


@given(text)
def test_the_folder_that_is_asked_for_and_no_other(here, out):
    from binreg_nb.runs import main

    if Path(os.path.abspath(out or 'runs')) in (here, *here.parents):
        return  # the folder of the tests itself
    top = here.parent.parent
    before = files(top)
    code = answer(main, ['--quiet', '--method', 'fp', f'--out={out}'])
    new = files(top) - before
    mine = here / out if out else here / 'runs'
    wanted = Path(os.path.abspath(mine))
    if code:
        assert not [p for p in new if p.is_file()], new
    else:
        assert all(p == wanted or wanted in p.parents or p in wanted.parents for p in new), (
            out,
            new,
        )


@given(
    st.text(max_size=200)
    | st.binary(max_size=100)
    | st.dictionaries(st.sampled_from([*FIELDS, 'lamda', 'out']), anything, max_size=3).map(
        yaml.safe_dump
    )
)
def test_yaml(here, given):
    from binreg_nb.runs import main

    file = here / 'settings.yaml'
    file.write_bytes(given if isinstance(given, bytes) else given.encode('utf-8', 'surrogatepass'))
    answer(main, ['--quiet', '--config', str(file), '--out', 'runs/yaml'])


@given(text)
def test_names_of_yaml_files(here, name):
    from binreg_nb.runs import main

    answer(main, ['--quiet', f'--config={name}', '--out', 'runs/named'])


SWEPT = (
    'network',
    'dataset',
    'subset',
    'epochs',
    'fp_epochs',
    'batch_size',
    'lr',
    'lam',
    'warmup_epochs',
    'start',
    'device',
    'modules',
)


@settings(max_examples=25)
@given(
    st.sampled_from(['demo', 'table3', 'starts', 'dmo', '']) | text,
    settings_of_a_run(SWEPT, 2),
    st.sampled_from(['', 'w_bits == 2', 'w_bits = 2', '@x', 'lam', '1/0']) | text,
)
def test_sweeps(here, name, given, rows):
    from binreg_nb.sweep import main

    extra = [f'--rows={rows}'] if name.startswith('table') else []
    answer(
        main,
        [
            *'--out runs/grid --dry-run'.split(),
            *(o for k, v in given.items() for o in option(k, v)),
            *extra,
            '--',
            name,
        ],
    )


@given(settings_of_a_run(most=6))
def test_configurations(given):
    try:
        c = RunConfig(**given).resolve(names=False)
    except InputError as e:
        assert str(e)
        return
    name = c.name()
    assert name == c.resolve(names=False).name()
    assert Path(name).name == name
    assert len(os.fsencode(name)) < 250
    assert all(math.isfinite(v) for v in asdict(c).values() if isinstance(v, float))


records = (
    st.text(max_size=60)
    | st.binary(max_size=40)
    | st.recursive(
        anything,
        lambda s: st.dictionaries(
            st.sampled_from(['status', 'top1', 'why', 'method', 'seconds', *FIELDS]), s, max_size=5
        ),
        max_leaves=5,
    )
)


@given(records, records, records)
def test_run_folders(tmp_path_factory, config, metrics, failed):
    from binreg_nb.results import load_runs, summary_table

    d = tmp_path_factory.mktemp('runs')
    run = d / 'one'
    run.mkdir()
    for name, r in (('config.json', config), ('metrics.json', metrics), ('failed.json', failed)):
        (run / name).write_bytes(
            r
            if isinstance(r, bytes)
            else (r if isinstance(r, str) else json.dumps(r)).encode('utf-8', 'surrogatepass')
        )
    assert isinstance(finished(run), (dict, type(None)))
    assert isinstance(broken(run), str)
    assert isinstance(failure(run), str)
    try:
        summary_table(load_runs(d))
    except InputError as e:
        assert str(e)


@pytest.mark.parametrize(
    'name',
    [
        'a b',
        '{a}{',
        unicodedata.normalize('NFC', 'é'),
        unicodedata.normalize('NFD', 'é'),
        'x' * 255,
        '..',
    ],
)
def test_a_real_run_in_a_folder_of_any_name(place, name):
    from binreg_nb.engine import do_run

    cfg = RunConfig(
        network='mine:tiny', modules=str(place), method='fp', epochs=1, subset=64, compile=False
    )
    out = place / 'real' / name if name != '..' else place / 'real' / 'deep' / '..' / 'up'
    r = do_run(asdict(cfg), str(out), notebook=False)
    assert r == dict(status='ok')
    assert finished(os.path.abspath(out))['status'] == 'ok'
