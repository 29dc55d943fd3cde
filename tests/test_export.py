"`binreg-export` in processes of its own: a run's folder in, checked files out, mistakes in one line"

import subprocess

import pandas as pd, papermill, pytest, torch
from conftest import BIN

NETWORK = '''
from torch import nn

class Block(nn.Module):
    "Two branches that read the same values, one ReLU for both places"
    def __init__(self, n_in, n_out):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(n_in, n_out, 3, 2, 1, bias=False), nn.BatchNorm2d(n_out)
        self.conv2, self.bn2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False), nn.BatchNorm2d(n_out)
        self.downsample = nn.Sequential(nn.Conv2d(n_in, n_out, 1, 2, bias=False), nn.BatchNorm2d(n_out))
        self.relu = nn.ReLU()

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + self.downsample(x))

def residual(num_classes):
    stem = nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()
    return nn.Sequential(*stem, Block(16, 32), Block(32, 64), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, num_classes))
'''
RUN = '--network mynet:residual --epochs 2 --fp-epochs 2 --no-notebook --no-compile --quiet'.split()


def command(name, *args, cwd):
    return subprocess.run([BIN / name, *map(str, args)], cwd=cwd, capture_output=True, text=True)


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    "A folder with a low-bit run and the full-precision run that it started from"
    here = tmp_path_factory.mktemp('export')
    (here / 'mynet.py').write_text(NETWORK)
    made = command('binreg-run', '--method', 'lsq', *RUN, '--out', 'runs/mine', cwd=here)
    assert made.returncode == 0, made.stderr
    return here / 'runs'


def test_each_form_is_written_and_checked(runs):
    res = command(
        'binreg-export', runs / 'mine', '--form', 'packed,qcdq', '--out', 'ship', cwd=runs.parent
    )
    assert res.returncode == 0, res.stderr
    packed, onnx = res.stdout.strip().splitlines()
    assert 'the same bits on' in packed
    assert 'same top-1 on' in onnx
    assert 'not at a border' not in onnx
    sizes = {p.suffix: p.stat().st_size for p in (runs.parent / 'ship').iterdir()}
    assert sizes['.safetensors'] < (runs / 'mine' / 'model.safetensors').stat().st_size / 8


@pytest.mark.parametrize(
    'args,said',
    [
        (['none'], 'no such folder'),
        (['runs/mine', '--form', 'tflite'], "unknown form 'tflite'"),
        (['runs/mine', '--forse'], 'did you mean --force?'),
    ],
)
def test_a_mistake_is_one_line(runs, args, said):
    res = command('binreg-export', *args, cwd=runs.parent)
    assert res.returncode == 2
    assert said in res.stderr
    assert 'Traceback' not in res.stderr


def test_a_file_that_is_there_stays_and_a_torn_one_is_refused(runs):
    first = command('binreg-export', runs / 'mine', '--form', 'packed', cwd=runs.parent)
    assert first.returncode == 0, first.stderr
    file = next((runs / 'mine').glob('*.packed.safetensors'))
    whole = file.read_bytes()
    again = command('binreg-export', runs / 'mine', '--form', 'packed', cwd=runs.parent)
    assert again.returncode == 2
    assert 'exists already' in again.stderr
    assert file.read_bytes() == whole

    from binreg_nb.core import InputError
    from binreg_nb.packed import load_low_bit

    file.write_bytes(whole[:-100])
    with pytest.raises(InputError):
        load_low_bit(torch.nn.Linear(1, 1), file)


def test_the_template_ships_a_folder_of_runs(root, runs, tmp_path):
    asked = dict(runs=str(runs), out=str(tmp_path / 'ship'), forms='packed,qcdq')
    papermill.execute_notebook(
        root / 'nbs/experiments/ship.ipynb',
        tmp_path / 'out.ipynb',
        asked,
        kernel_name='python3',
        progress_bar=False,
        cwd=runs.parent,
    )
    table = pd.read_csv(tmp_path / 'ship' / 'ship.csv')
    assert list(zip(table.run, table.form)) == [
        ('mine', 'packed'),
        ('mine', 'qcdq'),
    ]  # full precision is passed over
    assert table.ok.all()
    assert (table.times_smaller > 3).all()
    assert {p.suffix for p in (tmp_path / 'ship').iterdir()} == {'.safetensors', '.onnx', '.csv'}
