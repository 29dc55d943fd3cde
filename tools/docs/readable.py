"""Figures and tables that can be read on a telephone, too"""

import base64, hashlib, html, itertools, re, struct

LONG = 30  # characters from which on a cell is a sentence and wraps


def figures(text, page):
    "Each picture opens at its full size, and says how wide it was drawn, so that no window shrinks it too far"

    def opened(m):
        tag, source = m[0], m[1]
        if source.startswith('data:image/png;base64,'):
            data = base64.b64decode(source.partition(',')[2])
            source = kept(data, page)
            tag = tag.replace(m[1], source, 1)
        elif (page.parent / source).is_file() and source.endswith('.png'):
            data = (page.parent / source).read_bytes()
        else:
            return m[0]
        tag = tag.replace('<img', f'<img style="--inches: {inches(data):.1f}"', 1)
        return f'<a class="figure-whole" href="{source}" title="Open at full size">{tag}</a>'

    return re.sub(r'<img\b[^>]*?\bsrc="([^"]+)"[^>]*>', opened, text)


def kept(data, page):
    "A picture's own file beside its page; returns the address of it there"
    folder = page.with_name(page.stem + '_files')
    folder.mkdir(exist_ok=True)
    file = folder / f'{hashlib.sha256(data).hexdigest()[:12]}.png'
    file.write_bytes(data)
    return f'{folder.name}/{file.name}'


def inches(png):
    "How wide a PNG was drawn, by its own account of its resolution; 100 pixels an inch where it has none"
    (width,) = struct.unpack('>I', png[16:20])
    place = png.find(b'pHYs')
    if place < 0:
        return width / 100
    (per_metre,) = struct.unpack('>I', png[place + 4 : place + 8])
    return width / (per_metre * 0.0254)


def options(text):
    "An option of a command stays in one piece: browsers break a line after its dashes"
    whole = r'<span class="whole">\g<0></span>'

    def kept_whole(m):
        return m[1] + re.sub(r'(?<!\w)--?[a-z][\w-]*', whole, m[2]) + m[3]

    return re.sub(r'((?<!<pre>)<code>)([^<]*--[^<]*)(</code>)', kept_whole, text)


def tables(text):
    "In every table, the columns that hold sentences wrap and stand left, their heads with them"
    return re.sub(r'<table\b.*?</table>', lambda m: columns(m[0]), text, flags=re.S)


CELL = re.compile(r'<(t[hd])((?:\s[^>]*)?)>(.*?)</\1>', re.S)


def columns(table):
    "A table with its columns of sentences marked"
    rows = re.findall(r'<tr\b.*?</tr>', table, re.S)
    prose = {
        i for row in rows for i, cell in enumerate(CELL.finditer(row)) if shown(cell[3]) > LONG
    }
    for row in dict.fromkeys(rows):
        table = table.replace(row, marked(row, prose))
    return table


def shown(cell):
    "How many characters of a cell a reader sees"
    return len(html.unescape(re.sub(r'<[^>]*>', '', cell)).strip())


def marked(row, prose):
    place = itertools.count()

    def mark(m):
        return f'<{m[1]}{m[2]} data-prose>{m[3]}</{m[1]}>' if next(place) in prose else m[0]

    return CELL.sub(mark, row)
