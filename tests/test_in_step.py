"The library, the notebooks, the README and the template say the same thing"

import ast, json, re, shutil, subprocess, sys
from dataclasses import fields

from IPython.core.inputtransformer2 import TransformerManager

from conftest import BIN


def copy(root, to):
    for d in ('nbs', 'binreg_nb', 'tools'):
        shutil.copytree(
            root / d, to / d, ignore=shutil.ignore_patterns('__pycache__', '.ipynb_checkpoints')
        )
    for f in ('settings.ini', 'setup.py', 'pyproject.toml', 'README.md'):
        shutil.copy(root / f, to / f)
    return to


def files(d, glob):
    return {
        p.relative_to(d): p.read_bytes()
        for p in sorted(d.rglob(glob))
        if '.ipynb_checkpoints' not in p.parts
    }


def test_export_is_in_step(root, tmp_path):
    c = copy(root, tmp_path)
    before = files(c / 'binreg_nb', '*.py')
    for p in (c / 'binreg_nb').glob('*.py'):
        if p.name not in ('__init__.py',):
            p.unlink()
    subprocess.run([BIN / 'nbdev-export'], cwd=c, check=True)
    after = files(c / 'binreg_nb', '*.py')
    assert [str(k) for k in before if before[k] != after.get(k)] == [], (
        'run `make notebooks`: these modules are not what the notebooks export'
    )
    assert set(before) == set(after)


def test_notebooks_are_clean(root, tmp_path):
    c = copy(root, tmp_path)
    before = files(c / 'nbs', '*.ipynb')
    subprocess.run([BIN / 'nbdev-clean'], cwd=c, check=True)
    after = files(c / 'nbs', '*.ipynb')
    assert [str(k) for k in before if before[k] != after[k]] == [], (
        'run `make notebooks`: these notebooks are not clean'
    )


def test_a_notebook_is_called_like_its_module(root):
    "Links to a module's page go by the module's name, pages are named by their notebook"
    for p in sorted((root / 'nbs').glob('*.ipynb')):
        code = '\n'.join(
            ''.join(c['source'])
            for c in json.loads(p.read_text())['cells']
            if c['cell_type'] == 'code'
        )
        module = re.search(r'^#\| default_exp (\w+)', code, re.M)
        if module:
            assert p.stem.split('_', 1)[1] == module[1], p


def mixes_imports(source):
    "Does a cell import, anywhere in it, and do something else, too?"
    if re.search(r'^#\|\s*(export|eval: false)', source, re.M) or 'nbdev_export()' in source:
        return False
    imports = ast.Import, ast.ImportFrom
    tree = ast.parse(TransformerManager().transform_cell(source))  # without its magic
    harmless = *imports, ast.FunctionDef, ast.ClassDef
    does = [o for o in tree.body if not isinstance(o, harmless)]
    return bool(does) and any(isinstance(o, imports) for o in ast.walk(tree))


def test_imports_stand_in_cells_of_their_own(root):
    "nbdev-docs runs a cell that imports, alone: what else it does fails there"
    mixed = [
        (p.name, c['id'])
        for p in sorted((root / 'nbs').rglob('*.ipynb'))
        if p.parent.name != 'experiments' and '.ipynb_checkpoints' not in p.parts
        for c in json.loads(p.read_text())['cells']
        if c['cell_type'] == 'code'
        and mixes_imports(''.join(c['source']))
    ]
    assert mixed == []


def test_links_between_pages_lead_somewhere(root):
    pages = [
        p for d in ('nbs', 'results') for k in ('*.ipynb', '*.md') for p in (root / d).rglob(k)
    ] + [root / 'README.md', root / 'CONTRIBUTING.md']
    lost = []
    for p in pages:
        if '.ipynb_checkpoints' in p.parts:
            continue
        cells = (
            [dict(source=p.read_text(), cell_type='markdown')]
            if p.suffix == '.md'
            else json.loads(p.read_text())['cells']
        )
        text = '\n'.join(''.join(c['source']) for c in cells if c['cell_type'] == 'markdown')
        links = re.findall(r'\]\(([^)\s]+)\)', text)
        here = [l.split('#')[0] for l in links if not l.startswith(('http', '#', 'mailto'))]
        lost += [(str(p.relative_to(root)), l) for l in here if not (p.parent / l).exists()]
    assert lost == []


def test_readme_is_in_step(root):
    subprocess.run([sys.executable, root / 'tools/readme.py', '--check'], check=True)


def test_committed_outputs_hold_no_error_and_no_machine_path(root):
    for p in sorted((root / 'nbs').rglob('*.ipynb')):
        if '.ipynb_checkpoints' in p.parts:
            continue
        for c in json.loads(p.read_text())['cells']:
            for o in c.get('outputs', []):
                assert o['output_type'] != 'error', p
                text = json.dumps(o.get('text', '')) + json.dumps(
                    o.get('data', {}).get('text/plain', '')
                )
                assert not re.search(r'/(home|root|work|Users)/', text), (p, text[:300])


def test_template_has_the_settings_of_RunConfig(root):
    "Names, defaults, order and comments; and papermill finds the cell by its tag"
    from fastcore.docments import docments
    from binreg_nb.runs import RunConfig

    cells = json.loads((root / 'nbs/experiments/run.ipynb').read_text())['cells']
    [cell] = [c for c in cells if 'parameters' in c['metadata'].get('tags', [])]
    src, docs = ''.join(cell['source']), docments(RunConfig)
    values = {n.targets[0].id: ast.literal_eval(n.value) for n in ast.parse(src).body}
    assert values.pop('out') == 'runs/one'
    assert list(values.items()) == [(f.name, f.default) for f in fields(RunConfig)]
    assert [type(v) for v in values.values()] == [f.type for f in fields(RunConfig)]
    comments = dict(re.match(r'(\w+) = .*?\s# (.*)', l).groups() for l in src.splitlines())
    assert {k: comments[k] for k in values} == {k: docs[k] for k in values}


def test_versions_and_metadata_stand_in_one_place(root):
    import binreg_nb
    from importlib.metadata import metadata

    assert metadata('binreg_nb')['Version'] == binreg_nb.__version__
    assert 'version' not in (root / 'settings.ini').read_text().split('[DEFAULT]')[1]
    assert 'dependencies = [' not in (root / 'pyproject.toml').read_text()


def test_quantizers_import_is_light():
    "No fastai, no matplotlib, no pandas below the quantizers"
    code = 'import sys, binreg_nb.quantizers; print([m for m in ("fastai", "matplotlib", "pandas", "torchvision") if m in sys.modules])'
    assert (
        subprocess.run(
            [sys.executable, '-c', code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == '[]'
    )
