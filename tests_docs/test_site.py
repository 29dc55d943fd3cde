"Every page in a browser, wide and narrow, light and dark: nothing missing, nothing raw, nothing from elsewhere"

import ast, re
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import nbformat, pytest

LOOK = (Path(__file__).parent / 'look.js').read_text()
WIDE, NARROW = dict(width=1280, height=900), dict(width=390, height=844)
WAYS = 'wide', 'narrow', 'dark'


def watched(browser, address):
    "A tab that can reach the site and nothing else, and the list of what goes wrong in it"
    context, noise = browser.new_context(viewport=WIDE, reduced_motion='reduce'), []

    def request(route):
        foreign = not route.request.url.startswith((address, 'data:'))
        if foreign:
            noise.append(f'asks for {route.request.url}')
        route.abort() if foreign else route.continue_()

    context.route('**/*', request)
    tab = context.new_page()
    tab.on('console', lambda m: noise.append(f'console: {m.text}') if m.type == 'error' else None)
    tab.on('pageerror', lambda e: noise.append(f'error: {e}'))
    tab.on('response', lambda r: noise.append(f'{r.status} {r.url}') if r.status >= 400 else None)
    return tab, noise


def visit(tab, noise, url, picture):
    "way -> what is seen on the page, with what went wrong"
    seen = {}
    for way in WAYS:
        noise.clear()
        tab.set_viewport_size(NARROW if way == 'narrow' else WIDE)
        if way != 'narrow':
            tab.emulate_media(color_scheme='dark' if way == 'dark' else 'light')
            tab.goto(url, wait_until='load')
        seen[way] = {**tab.evaluate(LOOK), 'noise': list(noise)}
        picture(tab, way)
    return seen


@pytest.fixture(scope='session')
def pages(site):
    return sorted(str(p.relative_to(site)) for p in site.rglob('*.html'))


@pytest.fixture(scope='session')
def seen(browser, address, pages, request):
    "way -> path -> what was seen; screenshots lie in the folder that --screenshots names"
    folder = request.config.getoption('--screenshots')
    tab, noise = watched(browser, address)
    found = {way: {} for way in WAYS}
    for p in pages:

        def picture(tab, way):
            if folder:
                tab.screenshot(
                    path=Path(folder) / way / (p.replace('/', '-').removesuffix('.html') + '.png'),
                    full_page=True,
                )

        for way, what in visit(tab, noise, f'{address}/{p}', picture).items():
            found[way][p] = what
    tab.context.close()
    return found


def faults(seen, what, ways=WAYS):
    return {
        f'{way} {p}': found[what] for way in ways for p, found in seen[way].items() if found[what]
    }


def test_every_part_of_the_site_is_there(pages):
    needed = {
        'index.html',
        'api.html',
        'changelog.html',
        'regularizers.html',
        'learner.html',
        'results/index.html',
        'tutorials/getting_started.html',
        'tutorials/what_quantization_costs.html',
        'experiments/table1_two_stage.html',
    }
    assert needed <= set(pages), needed - set(pages)
    assert not [p for p in pages if re.match(r'\d\d_', Path(p).name)], (
        'pages have the names that links to them have'
    )


def test_no_page_complains_or_asks_for_anything_elsewhere(seen):
    assert faults(seen, 'noise') == {}


def test_pictures_load(seen):
    assert faults(seen, 'blank') == {}


def test_formulas_are_typeset(seen):
    assert faults(seen, 'raw') == {}
    assert faults(seen, 'flat') == {}
    assert seen['wide']['quantizers.html']['formulas'] > 10
    assert seen['wide']['regularizers.html']['formulas'] > 5


def test_no_page_scrolls_sideways(seen):
    assert {
        p: (n, seen[p.split()[0]][p.split()[1]]['stick'])
        for p, n in faults(seen, 'overflow').items()
    } == {}


def test_figures_and_tables_can_be_read_at_any_width(seen):
    assert faults(seen, 'small') == {}, 'fewer than 55 pixels to an inch: letters of 10 points get lost'
    assert faults(seen, 'squeezed') == {}, 'sentences in columns of a word or two'
    assert faults(seen, 'cut') == {}, 'cells that the table cut off'
    assert seen['narrow']['tutorials/why_bins.html']['whole'] > 0, 'figures open at full size'


def test_text_can_be_read_in_light_and_dark(seen):
    assert faults(seen, 'pale', ('wide', 'dark')) == {}


def test_neither_warnings_nor_hidden_cells_nor_places_on_a_machine_are_shown(seen):
    assert faults(seen, 'errors') == {}
    assert faults(seen, 'hidden') == {}
    assert faults(seen, 'machine') == {}


def test_no_method_shows_the_docstring_of_a_class_of_another_library(seen):
    assert faults(seen, 'foreign') == {}


def exported(notebook):
    "The statements that a notebook's exported cells show, in order"
    for c in nbformat.read(notebook, 4).cells:
        if c.cell_type == 'code' and re.match(r'#\|\s*export', c.source):
            for o in ast.parse(c.source).body:
                if not isinstance(o, (ast.Import, ast.ImportFrom)):
                    yield ast.get_source_segment(c.source, o)


def test_all_exported_code_is_on_its_page_in_its_order(root, site):
    "Constants and functions without a documentation of their own, too"
    missing = []
    for notebook in sorted((root / 'nbs').glob('[0-7]*.ipynb')):
        page = site / (re.sub(r'^\d+_', '', notebook.stem) + '.llms.md')
        text, place = page.read_text(encoding='utf-8'), 0
        for code in exported(notebook):
            found = text.find(code, place)
            if found < 0:
                missing.append((page.name, code.splitlines()[0]))
            place = max(place, found)
    assert missing == []


def test_a_class_does_not_list_the_arguments_of_another_librarys(site):
    text = (site / 'callbacks.llms.md').read_text(encoding='utf-8')
    assert 'class NoStepDecay(Callback)\n' in text
    assert 'after_cancel_backward:' not in text


def test_every_internal_link_leads_somewhere(seen, site, address):
    ids = {p: set(found['ids']) for p, found in seen['wide'].items()}
    broken = []
    for page, found in seen['wide'].items():
        for link in found['links']:
            if not link.startswith(address):
                continue
            url, name = urldefrag(link)
            path = unquote(urlsplit(url).path).lstrip('/')
            file = path + 'index.html' if path.endswith('/') or not path else path
            if not (site / file).is_file():
                broken.append((page, link))
            elif name and file in ids and unquote(name) not in ids[file]:
                broken.append((page, link))
    assert broken == []


def test_search_finds_a_function(browser, address):
    context = browser.new_context(viewport=WIDE)
    tab = context.new_page()
    tab.goto(address + '/index.html', wait_until='networkidle')
    tab.locator('input[type=search], .smalldocs-search input').first.click()
    tab.keyboard.type('bin_reg')
    tab.wait_for_selector('a[href*="regularizers.html#bin_reg"]', timeout=5000)
    context.close()


def test_the_api_has_signatures_and_docments(browser, address):
    context = browser.new_context(viewport=WIDE)
    tab = context.new_page()
    tab.goto(address + '/regularizers.html', wait_until='networkidle')
    section = tab.locator('#bin_reg').locator('..').inner_text()
    assert (
        'Bin regularization of one layer' in section
        and 'Step size, scalar or one per output channel' in section
    ), section
    tab.goto(address + '/learner.html', wait_until='networkidle')
    assert 'warmup_epochs' in tab.locator('[id="learner.fit_two_stage"]').locator('..').inner_text()
    context.close()


def test_a_plain_text_index_for_language_models(site):
    text = (site / 'llms.txt').read_text()
    for line in re.findall(r'\]\(([^)]+)\)', text):
        assert (site / line).is_file(), line
    assert 'Getting started' in text
    assert 'LSQ' in text


def test_formulas_hold_no_command_and_their_font_has_the_root_sign(site):
    "`<msqrt>` draws a sign that stands in no text"
    from fontTools.ttLib import TTFont

    pages = {p: p.read_text(encoding='utf-8') for p in site.rglob('*.html')}
    left = {p.name: re.findall(r'<m[ion][^>]*>\\\w+', text) for p, text in pages.items()}
    assert not {name: found for name, found in left.items() if found}
    assert any('<msqrt>' in text for text in pages.values())
    font = TTFont(site / 'site_libs/stix-two-math.woff')
    assert ord('√') in font.getBestCmap()
