"""The site's configuration for smalldocs, and its pages made whole: formulas, fonts, links"""

import html, re, shutil
from pathlib import Path

import smalldocs, yaml

import formulas, readable

HERE = Path(__file__).parent
THEMES = dict(light='cosmo', dark='darkly')


def configure(root, stage, site, names, extra):
    "smalldocs' _quarto.yml from the project's own: pages by name, no fonts from the web, llms.txt"
    cfg = yaml.safe_load((root / '_quarto.yml').read_text(encoding='utf-8'))
    cfg['project']['output-dir'] = str(site)
    web = cfg['website']
    web['sidebar']['contents'] = renamed(web['sidebar']['contents'], names) + extra
    web['navbar'] = renamed(web['navbar'], names)
    web['navbar']['left'].append(dict(text='API', href='api.md'))
    web['llms-txt'] = True
    cfg['format']['html'].update(
        theme={k: local_theme(v, stage) for k, v in THEMES.items()}, css='site.css'
    )
    cfg.pop('metadata-files', None)
    shutil.copy(HERE / 'site.css', stage / 'site.css')
    (stage / '_quarto.yml').write_text(
        yaml.safe_dump(cfg, sort_keys=False, allow_unicode=True), encoding='utf-8'
    )


def renamed(o, names):
    "The same, with pages in place of notebooks"
    if isinstance(o, list):
        return [renamed(x, names) for x in o]
    if isinstance(o, dict):
        return {k: renamed(v, names) for k, v in o.items()}
    if not isinstance(o, str) or not o.endswith('.ipynb'):
        return o
    p = Path(o)
    return str(p.with_name(names.get(p.stem, p.stem) + '.ipynb'))


def local_theme(name, stage):
    "A theme of smalldocs' without its web font"
    css = Path(smalldocs.__file__).parent / 'assets/vendor/bootswatch' / f'{name}.min.css'
    file = f'{name}.css'
    (stage / file).write_text(
        re.sub(r'@import\s+url\([^)]*\);?', '', css.read_text(encoding='utf-8')), encoding='utf-8'
    )
    return file


def finish(site):
    "Formulas as MathML with their font, links to methods where their class stands, no CDN"
    files = sorted(site.rglob('*.html'))
    ids = {f: set(re.findall(r'\bid="([^"]+)"', f.read_text(encoding='utf-8'))) for f in files}
    used = set()
    for f in files:
        text = re.sub(
            r'<(?:link|script)[^>]*cdn\.jsdelivr\.net/npm/katex[^>]*>(?:</script>)?\s*',
            '',
            f.read_text(encoding='utf-8'),
        )
        text = formulas.typeset(text, used)
        text = re.sub(r'(?<=[ >])([\d.]+e-\d+)(?=[ <])', r'<span class="whole">\1</span>', text)
        text = readable.options(text)
        text = readable.figures(readable.tables(text), f)
        text = re.sub(
            r'href="([^"#:]*)#([^"]+)"',
            lambda m: f'href="{m[1]}{anchor(f, m[1], m[2], ids)}"',
            text,
        )
        f.write_text(text, encoding='utf-8')
    formulas.write_font(site / 'site_libs', used)


def anchor(page, href, name, ids):
    "The heading that a link points to: a method's own, else its class's, else the page"
    target = (page.parent / href).resolve() if href else page
    name = html.unescape(name)
    while name not in ids.get(target, {name}) and '.' in name:
        name = name.rsplit('.', 1)[0]
    return '#' + html.escape(name) if name in ids.get(target, {name}) else ''
