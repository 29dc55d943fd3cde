"A tutorial where its readers run it: a JupyterLab of its own, opened in a browser, Run All; and papermill"

import json, os, shutil, socket, subprocess, sys, time, urllib.request
from pathlib import Path

import nbformat, pytest

BIN = Path(sys.executable).parent
TUTORIAL = 'getting_started.ipynb'


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


@pytest.fixture(scope='module')
def lab(root, tmp_path_factory):
    "A JupyterLab on a folder with the tutorial in it, every cell on the page at once; its address"
    d = tmp_path_factory.mktemp('lab')
    notebook = nbformat.read(root / 'nbs/tutorials' / TUTORIAL, 4)
    for c in notebook.cells:
        if c.cell_type == 'code':
            c.outputs = []
    nbformat.write(notebook, d / TUTORIAL)
    settings = d / 'settings/@jupyterlab/notebook-extension'
    settings.mkdir(parents=True)
    (settings / 'tracker.jupyterlab-settings').write_text(json.dumps(dict(windowingMode='none')))
    port = free_port()
    options = [
        *'--no-browser --allow-root --ip=127.0.0.1'.split(),
        f'--port={port}',
        '--IdentityProvider.token=here',
        f'--LabApp.user_settings_dir={d / "settings"}',
        '--LabApp.news_url=None',
        '--ServerApp.root_dir=' + str(d),
    ]
    env = {
        **os.environ,
        'PATH': f'{BIN}:{os.environ["PATH"]}',
        'JUPYTER_CONFIG_DIR': str(d / 'config'),
        'HOME': str(d),
    }
    with open(d / 'lab.log', 'w') as log:
        server = subprocess.Popen(
            [BIN / 'jupyter-lab', *options], cwd=d, env=env, stdout=log, stderr=log
        )
    try:
        address = f'http://127.0.0.1:{port}'
        for _ in range(120):
            if server.poll() is not None:
                pytest.fail((d / 'lab.log').read_text()[-2000:])
            try:
                urllib.request.urlopen(f'{address}/api?token=here', timeout=5)
            except OSError:
                time.sleep(0.5)
            else:
                break
        yield address
    finally:
        server.terminate()
        server.wait(20)


def test_getting_started_runs_to_its_end_by_run_all(lab, browser):
    tab = browser.new_context(viewport=dict(width=1300, height=1000)).new_page()
    tab.set_default_timeout(15_000)
    tab.goto(f'{lab}/lab/tree/{TUTORIAL}?token=here')
    tab.wait_for_selector('.jp-Notebook .jp-CodeCell', timeout=20_000)
    # the kernel of the status bar: run before it is there, JupyterLab asks which one to take
    tab.get_by_text('Python 3 (ipykernel) | Idle').wait_for(timeout=60_000)
    tab.get_by_role('menuitem', name='Run', exact=True).click()
    tab.get_by_text('Run All Cells', exact=True).first.click()
    numbered = '''() => {
        const cells = [...document.querySelectorAll('.jp-Notebook .jp-CodeCell')];
        const prompts = cells.filter(c => c.querySelector('.jp-InputArea-editor')?.textContent.trim())
                             .map(c => c.querySelector('.jp-InputPrompt').textContent);
        const failed = document.querySelector('.jp-Notebook [data-mime-type="application/vnd.jupyter.error"]');
        return failed || prompts.length > 10 && prompts.every(p => /\\d/.test(p));
    }'''
    tab.wait_for_function(numbered, timeout=400_000, polling=500)
    seen = tab.evaluate('''() => ({
        red: [...document.querySelectorAll('.jp-Notebook [data-mime-type="application/vnd.jupyter.stderr"], .jp-Notebook [data-mime-type="application/vnd.jupyter.error"]')].map(e => e.textContent.slice(0, 300)),
        pictures: [...document.querySelectorAll('.jp-Notebook .jp-OutputArea-output img')].filter(i => i.naturalWidth > 100).length,
        tables: [...document.querySelectorAll('.jp-Notebook .jp-OutputArea-output table')].map(t => t.textContent),
    })''')
    assert seen['red'] == []
    assert seen['pictures'] >= 3, 'the digits, the histogram, the weights on their way'
    progress = [t for t in seen['tables'] if 'train_loss' in t]
    assert len(progress) == 3 and any('near_border' in t for t in seen['tables']), seen['tables']
    tab.context.close()


@pytest.mark.parametrize('log', [[], ['--log-output']])
def test_papermill_reads_well(root, tmp_path, log):
    "A run by papermill: what it prints has no step of a progress bar a line, no traceback, no warning of ours"
    shutil.copy(root / 'nbs/experiments/run.ipynb', tmp_path / 'run.ipynb')
    numbers = dict(method='br', epochs=2, fp_epochs=1, subset=200, compile=False, out='mine')
    args = [o for k, v in numbers.items() for o in ('-p', k, str(v))]
    command = [
        BIN / 'papermill',
        '--no-progress-bar',
        *log,
        *'-k python3 run.ipynb out.ipynb'.split(),
        *args,
    ]
    p = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, 'PATH': f'{BIN}:{os.environ["PATH"]}'},
    )
    assert p.returncode == 0, p.stderr[-2000:]
    text = p.stdout + p.stderr
    assert 'Traceback' not in text and 'UserWarning' not in text and len(text.splitlines()) < 150, (
        text
    )
    cells = nbformat.read(tmp_path / 'out.ipynb', 4).cells
    streams = [
        o.text
        for c in cells
        if c.cell_type == 'code'
        for o in c.outputs
        if o.get('name') == 'stderr'
    ]
    assert streams == [], streams
