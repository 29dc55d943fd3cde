"""README.md from nbs/index.ipynb: prose as it stands, code in fences, text outputs below it. `--check` only compares.

nbdev-readme does this with Quarto, which package registries do not carry."""
import re, sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent


def text_of(out):
    if out.output_type == 'stream': return out.text
    data = out.get('data', {})
    return data.get('text/markdown') or data.get('text/plain') or ''


def cell_md(cell):
    if cell.cell_type == 'markdown': return cell.source
    if re.match(r'#\|\s*hide', cell.source): return ''
    src = '\n'.join(l for l in cell.source.splitlines() if not l.startswith('#|')).strip()
    outs = ''.join(text_of(o) for o in cell.outputs).rstrip()
    if '#| echo: false' in cell.source: return outs
    return f'```python\n{src}\n```' + (f'\n\n```text\n{outs}\n```' if outs else '')


def readme(root=ROOT):
    nb = nbformat.read(root/'nbs/index.ipynb', 4)
    head = '<!-- Made from nbs/index.ipynb by tools/readme.py: edit that. -->\n\n'
    return head + '\n\n'.join(s for s in map(cell_md, nb.cells) if s).replace('](../', '](') + '\n'


if __name__ == '__main__':
    file = ROOT/'README.md'
    if '--check' not in sys.argv: file.write_text(readme(), encoding='utf-8')
    elif file.read_text(encoding='utf-8') != readme(): sys.exit('README.md is not in step with nbs/index.ipynb: run `make notebooks`')
