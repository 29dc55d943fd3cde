"""Notebooks made ready for the site: nbdev's own processors, and what they need or leave to do

Each notebook gets a process of its own: nbdev runs its exported cells to print what they document."""

import ast, multiprocessing, os, re, textwrap, warnings

import nbformat

from documented import DEFINITIONS, definitions, only_own

EXPORT = re.compile(r'^#\|\s*export[a-z]*\b.*$', re.M)
APART = '<!-- apart -->'  # Between code cells: nbdev takes the next one's documentation for its own
SHORT = 12  # Lines of constants that need no fold
DEFAULT_EXP = re.compile(r'^#\|\s*default_exp\s+(\S+)', re.M)
# Names of the library that prose uses as words, or for a thing of another library's or a method
WORDS = 'Conv2d dataset machine need network precision quantize run shown spread truth'.split()
MEASURED = 'results/digits'  # The papermill templates as executed there stand in for the templates


def page_name(path):
    "The name of a notebook's page in nbdev's links: the module's, or the file's without its number"
    cells = nbformat.read(path, 4).cells
    module = next(
        (m[1] for c in cells if c.cell_type == 'code' and (m := DEFAULT_EXP.search(c.source))), None
    )
    return (module or re.sub(r'^\d+[a-zA-Z]?_', '', path.stem)) + '.ipynb'


def sources(root):
    "page -> notebook, both relative to their folders"
    found = [
        p for p in sorted((root / 'nbs').rglob('*.ipynb')) if '.ipynb_checkpoints' not in p.parts
    ]
    return {p.relative_to(root / 'nbs').parent / page_name(p): p for p in found}


def split_imports(nb):
    "nbdev runs cells with imports, alone: of other code beside them, only the imports may run"
    cells = []
    for c in nb.cells:
        if (
            c.cell_type == 'code'
            and not EXPORT.search(c.source)
            and (imports := mixed_imports(c.source))
        ):
            cells.append(nbformat.v4.new_code_cell('#| hide\n' + imports))
            c.source = '#| eval: false\n' + c.source
        cells.append(c)
    nb.cells = cells


def mixed_imports(source):
    "The imports at the top level of a cell that holds other code; '' where there is nothing to part"
    lines = ['' if l.startswith(('%', '!')) else l for l in source.splitlines()]
    try:
        tree = ast.parse('\n'.join(lines))
    except SyntaxError:
        return ''
    kinds = ast.Import, ast.ImportFrom
    if all(isinstance(o, kinds) for o in tree.body) or not any(
        isinstance(o, kinds) for o in ast.walk(tree)
    ):
        return ''
    return '\n'.join(ast.unparse(o) for o in tree.body if isinstance(o, kinds)) or 'pass'


def show_sources(nb):
    "Exported code is shown below its documentation, one public definition a cell"
    cells = []
    for c in nb.cells:
        if not is_source(c):
            cells.append(c)
            continue
        for part in parts(c.source):
            shown = nbformat.v4.new_code_cell(part)
            shown.metadata = c.metadata
            cells += [shown, nbformat.v4.new_markdown_cell(APART)]
    nb.cells = cells


def is_source(cell):
    "Is it exported code that a reader should see? Imports and hidden cells are not"
    if cell.cell_type != 'code' or not EXPORT.search(cell.source):
        return False
    if 'hide' in cell.source.splitlines()[0]:
        return False
    kinds = ast.Import, ast.ImportFrom
    return not all(isinstance(o, kinds) for o in ast.parse(cell.source).body)


def parts(source):
    "The code of an exported cell, cut before each public definition after the first"
    code = EXPORT.sub('', source, count=1).strip('\n')
    lines = code.split('\n')
    cuts, seen = [0], False
    for o in ast.parse(code).body:
        if not isinstance(o, DEFINITIONS) or o.name.startswith('_'):
            continue
        if seen:
            cuts.append(start_of(o, lines))
        seen = True
    ends = [*cuts[1:], len(lines)]
    return ['#| exports\n' + '\n'.join(lines[a:b]).strip('\n') for a, b in zip(cuts, ends)]


def start_of(definition, lines):
    "The first line of a definition with its decorators and the comment above it, from 0"
    first = min(o.lineno for o in [definition, *definition.decorator_list]) - 1
    while first and lines[first - 1].startswith('#'):
        first -= 1
    return first


def one_head(nb):
    "The title and the line below it in a cell of their own: nbdev drops what else is there"
    first = nb.cells[0]
    if first.cell_type != 'markdown' or not first.source.startswith('# '):
        return
    if '\n' not in first.source.strip() and nb.cells[1].source.startswith('> '):
        first.source += '\n\n' + nb.cells.pop(1).source
    head = re.match(r'# .*\n*(?:> .*\n*)?', first.source)[0]
    rest = first.source[len(head) :].strip()
    first.source = head.strip()
    if rest:
        nb.cells.insert(1, nbformat.v4.new_markdown_cell(rest))


def as_terminal(text):
    "What a terminal shows in the end: a carriage return writes over the line (progress bars)"
    lines = []
    for line in text.split('\n'):
        shown = ''
        for part in line.split('\r'):
            shown = part + shown[len(part) :]
        if shown.strip() or '\r' not in line:
            lines += wrapped(shown.rstrip())
    return '\n'.join(lines)


def wrapped(line):
    "A sentence that is longer than a page is wide, in lines that say so; a table's row as it is"
    is_row = line.startswith(('|', '\\')) or re.search(r'\S {2,}\S| & ', line)
    if len(line) <= 100 or is_row:
        return [line]
    return textwrap.wrap(line, 96, subsequent_indent='  ↪ ', break_on_hyphens=False)


def tidy_outputs(nb):
    "No warnings, no steps of progress bars; what is printed as Markdown, as Markdown"
    for c in nb.cells:
        if c.cell_type != 'code' or not c.get('outputs'):
            continue
        for o in c.outputs:
            if o.output_type == 'stream':
                o.text = as_terminal(''.join(o.text))
        c.outputs = [
            printed(o)
            for o in c.outputs
            if o.get('name') != 'stderr' and (o.output_type != 'stream' or o.text.strip())
        ]


def printed(output):
    "An output; where it is a stream that prints Markdown, as the site shows it"
    if output.output_type != 'stream' or not output.text.startswith('```'):
        return output
    return nbformat.v4.new_output('display_data', {'text/markdown': output.text.strip()})


def relink(text, names, settings):
    "Links to notebooks, to results/ and to documented names, as the site has them"
    if not settings['git_url']:
        text = re.sub(r'\[source\]\([^)]*\)\{[^}]*\}\n*', '', text)
    base = settings['doc_host'] + settings['doc_baseurl'].rstrip('/') + '/'
    text = text.replace(f']({base}', '](/')
    text = re.sub(r'\]\((?:\.\./)+results/', '](/results/', text)
    text = re.sub(rf'\[(`(?:{"|".join(WORDS)})`)\]\([^)]*\)', r'\1', text)

    def page(m):
        return f"]({m[1] or ''}{names.get(m[2], m[2])}.{m[3]}"

    return re.sub(r'\]\(((?:\.\./)*(?:\w+/)*)(\w+)\.(ipynb|html)', page, text)


FOLD = '#| code-fold: show\n#| code-summary: "Exported source"\n'  # as nbdev marks exported source


def folded(source):
    "Exported source as a page shows it: definitions and long constants folded, by their names"
    code = source.replace(FOLD, '')
    defined, assigned = names_in(code)
    if not defined and len(code.splitlines()) <= SHORT:
        return code
    return (
        f'#| code-fold: true\n#| code-summary: "Source of {", ".join(defined or assigned)}"\n{code}'
    )


def names_in(code):
    "The definitions of a cell, and the names that it assigns"
    body = ast.parse(code).body
    defined = [o.name for o in body if isinstance(o, DEFINITIONS)]
    targets = [t for o in body if isinstance(o, ast.Assign) for t in o.targets]
    return list(dict.fromkeys(defined)), [ast.unparse(t).partition('[')[0] for t in targets]


def plain_names(text):
    "Documentation with special methods' names as they are, and types without the notebook's own module"
    text = text.replace('__main__.', '')
    return re.sub(r'^(#+ .*?)__(\w+)__', r'\1\\_\\_\2\\_\\_', text, flags=re.M)


def after(nb, names, settings, defined):
    "What is left to do when nbdev's processors have run"
    tidy_outputs(nb)
    nb.cells = [c for c in nb.cells if c.source != APART]
    for c in nb.cells:
        if c.cell_type == 'raw':
            c.source = re.sub(
                r'^output-file:.*\n', '', c.source, flags=re.M
            )  # the page's name says it
        elif c.cell_type == 'code':
            if c.source.startswith('%%'):  # a file to write: what stands in it is the file's
                c.source = c.source.replace('#| eval: false\n', '')
            if c.source.startswith(FOLD):
                c.source = folded(c.source)
            for o in c.get('outputs', []):
                md = o.get('data', {}).get('text/markdown')
                if md:
                    md = plain_names(only_own(''.join(md), defined))
                    o['data']['text/markdown'] = relink(md, names, settings)
        elif c.source:
            c.source = relink(c.source, names, settings)


def prepare(job):
    "One notebook's page source"
    src, dest, names = job
    from fastcore.nbio import read_nb, write_nb
    from nbdev.config import get_config
    from nbdev.processors import FilterDefaults

    os.environ['IN_TEST'] = '1'
    os.chdir(src.parent)
    nb = nbformat.read(src, 4)
    one_head(nb)
    split_imports(nb)
    defined = definitions(c.source for c in nb.cells if is_source(c))
    show_sources(nb)
    tidy_outputs(nb)
    dest.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nb, dest)
    nb = read_nb(dest)
    nb.path_ = src
    FilterDefaults()(nb)
    cfg = get_config()
    after(
        nb,
        names,
        {
            k: cfg[k] if k in cfg else getattr(cfg, k, '')
            for k in ('git_url', 'doc_host', 'doc_baseurl')
        },
        defined,
    )
    write_nb(nb, dest)


def stage(root, folder):
    "All notebooks' page sources in `folder`; returns {notebook: page}, both without suffix"
    pages = sources(root)
    names = {p.stem: page.stem for page, p in pages.items()}
    jobs = [(measured(root, p), folder / page, names) for page, p in pages.items()]
    warnings.filterwarnings('ignore', category=FutureWarning)  # fastai's, of torch.jit
    fork = 'fork' in multiprocessing.get_all_start_methods()
    if fork:
        import binreg_nb.all, nbdev.processors  # once, for all of them
    context = multiprocessing.get_context('fork' if fork else None)
    with context.Pool(max(1, min(2, os.cpu_count() or 1)), maxtasksperchild=1) as pool:
        for _ in pool.imap(prepare, jobs, chunksize=1):
            pass
    return names


def measured(root, path):
    "The executed copy of a template, where there is one"
    executed = root / MEASURED / path.name
    return executed if path.parent.name == 'experiments' and executed.exists() else path
