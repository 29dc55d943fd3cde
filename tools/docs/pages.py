"""Pages that no notebook holds: what was measured, the library's names, changelog"""

import importlib, inspect, re, shutil

from binreg_nb import _modidx

from notebooks import MEASURED


def write(root, stage):
    "Write them; returns sidebar sections"
    measured = results(root, stage)
    (stage / 'api.md').write_text(api(root), encoding='utf-8')
    text = (root / 'CHANGELOG.md').read_text(encoding='utf-8')
    text = re.sub(r'\]\((?:\./)?nbs/', '](/', text)
    (stage / 'changelog.md').write_text(text, encoding='utf-8')
    return [
        dict(section='Measured', contents=measured),
        dict(section='Reference', contents=['api.md', 'changelog.md']),
    ]


def results(root, stage):
    "The folder of measured results: its README files are pages, and tables in Markdown are"
    shutil.copytree(
        root / 'results', stage / 'results', ignore=shutil.ignore_patterns('*.ipynb', 'README.md')
    )
    for f in sorted((root / 'results').rglob('README.md')):
        page = stage / f.relative_to(root).with_name('index.md')
        page.write_text(folder_page(f), encoding='utf-8')
    for f in stage.glob('results/**/*tables.md'):
        text = f.read_text(encoding='utf-8')
        if not text.startswith('# '):
            name = (f.parent / 'index.md').read_text(encoding='utf-8').splitlines()[0].lstrip('# ')
            f.write_text(f'# {name}: the numbers\n\n{text}', encoding='utf-8')
    return [
        str(p.relative_to(stage))
        for p in sorted(stage.glob('results/**/*.md'), key=lambda p: (p.parent.parts, p.name))
    ]


def folder_page(readme):
    "A README with its folder's files linked"
    text = readme.read_text(encoding='utf-8')

    def link(m):
        file = readme.parent / m[1]
        if file.is_dir() and (file / 'README.md').exists():
            return f'[`{m[1]}`]({m[1].rstrip("/")}/index.md)'
        if file.is_file() and file.suffix == '.ipynb':
            shown = str(file.parent).endswith(MEASURED)
            return f'[`{m[1]}`](/experiments/{file.name})' if shown else m[0]
        return f'[`{m[1]}`]({m[1]})' if file.is_file() else m[0]

    def linked(part):
        if part.startswith('```'):
            return part
        return re.sub(r'(?<!\[)`([\w./-]+)`', link, part)

    parts = re.split(r'(^```.*?^```$)', text, flags=re.M | re.S)
    return ''.join(map(linked, parts)).rstrip() + '\n'


def api(root):
    "Every public name, with its one line, module by module in reading order"
    order = [p.stem.split('_', 1)[1] for p in sorted((root / 'nbs').glob('[0-9]*_*.ipynb'))]
    modules = sorted(
        _modidx.d['syms'],
        key=lambda m: (
            order.index(m.rsplit('.', 1)[1]) if m.rsplit('.', 1)[1] in order else len(order)
        ),
    )
    parts = ['---\ntitle: API by name\ndescription: Every public name and what it does\n---\n']
    for m in modules:
        rows = [
            r
            for r in (
                row(m, name, where[0]) for name, where in sorted(_modidx.d['syms'][m].items())
            )
            if r
        ]
        if not rows:
            continue
        module = importlib.import_module(m)
        name, about = m.rsplit('.', 1)[1], (module.__doc__ or '').strip()
        table = '\n'.join(['| Name | |', '|---|---|', *rows])
        parts.append(f'## {name}\n\n{about}\n\n{table}\n')
    return '\n'.join(parts)


def row(module, name, where):
    "A line of the table; None for what is private, or has nothing to say"
    short = name.removeprefix(module + '.')
    if any(part.startswith('_') for part in short.split('.')):
        return None
    obj = find(importlib.import_module(module), short)
    line = (inspect.getdoc(obj) or '').split('\n')[0] if obj is not None else ''
    if '.' in short and not own_doc(obj):
        return None
    line = line.replace('|', '\\|').replace('$', '\\$')
    return f'| [`{short}`](/{where}) | {line} |'


def find(module, dotted):
    obj = module
    for part in dotted.split('.'):
        obj = getattr(obj, part, None)
        if obj is None:
            return None
    return obj


def own_doc(obj):
    return bool(getattr(getattr(obj, 'fget', obj), '__doc__', None))
