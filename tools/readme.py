"""README.md and CONTRIBUTING.md from their notebooks

Prose as it stands, code in fences, text outputs below it. `--check` only compares. nbdev-readme does this with Quarto, which package registries do not carry."""

import re, sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent


def text_of(out):
    if out.output_type == 'stream':
        return out.text
    data = out.get('data', {})
    return data.get('text/markdown') or data.get('text/plain') or ''


def cell_md(cell):
    if cell.cell_type == 'markdown':
        return cell.source
    if re.match(r'#\|\s*hide', cell.source):
        return ''
    src = '\n'.join(l for l in cell.source.splitlines() if not l.startswith('#|')).strip()
    outs = ''.join(text_of(o) for o in cell.outputs).rstrip()
    if '#| echo: false' in cell.source:
        return outs
    return f'```python\n{src}\n```' + (f'\n\n```text\n{outs}\n```' if outs else '')


PAGES = {'README.md': 'nbs/index.ipynb', 'CONTRIBUTING.md': 'nbs/contributing.ipynb'}


def page(notebook, root=ROOT):
    "The text of a notebook as Markdown for the repository's front"
    nb = nbformat.read(root / notebook, 4)
    head = f'<!-- Made from {notebook} by tools/readme.py: edit that. -->\n\n'
    text = '\n\n'.join(s for s in map(cell_md, nb.cells) if s)
    text = re.sub(r'\]\((?=tutorials/|\w+\.ipynb)', '](nbs/', text)
    return head + text.replace('](../', '](') + '\n'


if __name__ == '__main__':
    for name, notebook in PAGES.items():
        file = ROOT / name
        text = page(notebook)
        if '--check' not in sys.argv:
            file.write_text(text, encoding='utf-8')
        elif file.read_text(encoding='utf-8') != text:
            sys.exit(f'{name} is not in step with {notebook}: run `make notebooks`')
