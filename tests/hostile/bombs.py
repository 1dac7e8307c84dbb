"""Decompression bombs: small files that would be huge pictures, or that say so; made here, none of them found."""

import base64
import struct
import zlib
from functools import cache

from tests.hostile.pictures import noise, saved

PNG = b"\x89PNG\r\n\x1a\n"

# Each is one red picture, written by libavif with speed=10 and subsampling 4:2:0, packed: making them anew takes
# gigabytes. What is in the file says how large it is.
_RED_AVIFS = {
    8000: (
        "c-muNU{FXasVqn=%S>Yc0uY^>nP!-qnV9D5Xy^nKdYzkElE?r7iWw<6MNl?FL1uCZ0~+8f$SlbPvlxL`E;A=T8N_h`@fjha"
        "jKT~I%(g(bMrLMS8eFXukdw*;<t3IG7&_<Y<b&<X$}A`<0Mg!>1<Cn9S|qc$AQfVryaNO?2oz*iWP(JPIXF0g6i;HAp>v}="
        "4@gKjIX|Z;FFB_IXfiJYTLVx?JhLDd<|m-TSQwd_S%7+7b5jyagc!KE<v-iifBx3Nkzt}>w3<!A<#>BrDiepoJV#Ivoj(`2"
        "R`YB3wGJ)*8_ApAl$Av(FzG~>zkM1$`xhsR`%)i{3p?L1%}%K@I@9#UTlLJQD*|G%M@1%^GtbCc`SgKySG$S$!pfZ5(3iiL"
        "+^;jWx#2OlZKHKxx_9rPgHdPvH@SHypFbB-&h#buXTgl7PjhCmM&Dm}@8}ez$gkHAs}|OmahDX!zB%0X<mZOjbEO%Rs~)r;"
        "dYD>M^<syf-1LB$8)Cg54}^>IW#~J7y76oE<?o*R{$y2dm}t$LR4#LFx^!#P)*16tdZy9El6X=q$=I}U;mXAq<J9)Q+!iMP"
        "_HS)lYF4NCg14u(y?9%H^reEWNS#(kAE$88{?L7UuJy)?ZoZpO4_`D4A4_N)9SH!FR^Ms"
    ),
    16000: (
        "c-muNU{FXasVqn=%S>Yc0uY^>nP!-qnV9D5Xy^nKdYzkElE?r7iWw<6MNl?FL1uCZ0~+8f$SlbPvlxL`E;A=T8N_h`@fjha"
        "jKT~IJX3*ejm*rvG`LzRASaax%1bOWFm%q($p_n&m03_!0HnP$3zGAJv`A)gK`O*Ly9Nkm5Gcs3$OMTnb8v6~DW1eKL+3_$"
        "9*~f5a(+%xUUE(a&}3c)Hjr}h%z|8)pMVZyVPtA%0cx6?o03=}#K6TZ|GlpM=ifz4QoI~S&5{C2$%hXcHL?i!D*!boo<A43"
        "R`YB3wGJ)*8_ApAl$Av(FzG~>zkM1$`xhsR`%)i{3p?L1%}%K@I@5GYByy7fMi%SImD3L>MFf0HyDO#l?BArU*N^xr!~~-H"
        "Y)_;(PLwIUyvlCEo)=#NZgBd{>DhiJ`TV(va;7iIKMQ6weVQ|iHTwR-dq<}zMSi`0ShcXejJu>*_RZn8CqFmLo-56mT)BBe"
        "e_CJG!glV7nk$-R^RnG+qx`BCy|h2RZii&IWkI}0?BtTO<*Bd!_A)9ytcciE%3OKEG=eUcB#~uFcX*h~%n7$GT56BoZ}NM`"
        "p5XP;L3vB!zSDbl+B|uszDUa{P<U@@dgm*P>jy#}44=>%jgrwQ8I6+BC>f2C(I^>>lF=v`tWgq8LywdVUBhV?@<{;MPm?w"
    ),
}


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@cache
def zeros(count):
    """So many zero bytes as a zlib stream, in little memory."""
    packer, part = zlib.compressobj(1), bytes(1_000_000)
    whole = b"".join(packer.compress(part) for _ in range(count // len(part)))
    return whole + packer.compress(bytes(count % len(part))) + packer.flush()


def png(width, height, *, depth=8, colour=2, interlaced=0, pixels=b"", before=b""):
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    body = chunk(b"IDAT", pixels or zlib.compress(b""))
    return PNG + chunk(b"IHDR", header) + before + body + chunk(b"IEND", b"")


def gif(screen, frame, frames=1):
    one = b"\x2c" + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x04\x84\x8f\x29\x05\x00"
    table = bytes(6)
    return b"GIF89a" + struct.pack("<HH", *screen) + b"\x80\0\0" + table + one * frames + b";"


def tiff(tags, strip):
    """One directory of LONGs; ``strip`` lies behind the header."""
    tags = {273: 8, 279: len(strip), **tags}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags))
    start = 8 + len(strip)
    return b"II*\0" + struct.pack("<I", start) + strip + struct.pack("<H", len(tags)) + entries + bytes(4)


def plain_tiff(width, height, strip, **changed):
    tags = {256: width, 257: height, 258: 8, 259: 8, 262: 1, 277: 1, 278: height}
    return tiff({**tags, **{int(tag.removeprefix("t")): value for tag, value in changed.items()}}, strip)


def webp(width, height):
    """A lossless one that says it is so large."""
    content = bytearray(saved(noise("RGBA"), "WEBP", lossless=True))
    place = content.index(b"VP8L") + 9
    bits = int.from_bytes(content[place : place + 4], "little") & ~((1 << 28) - 1)
    content[place : place + 4] = (bits | (width - 1) | (height - 1) << 14).to_bytes(4, "little")
    return bytes(content)


def jpeg(width, height, **options):
    content = bytearray(saved(noise(), "JPEG", **options))
    place = content.index(b"\xff\xc2" if options.get("progressive") else b"\xff\xc0")
    content[place + 5 : place + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def blp(width, height, encoding, compression=1):
    header = b"BLP2" + struct.pack("<i4BII", compression, encoding, 8, 0, 0, width, height)
    offset = len(header) + 128 + 1024
    sizes = struct.pack("<16I", offset, *[0] * 15) + struct.pack(
        "<16I", width * height & 0xFFFFFFFF, *[0] * 15
    )
    return header + sizes + bytes(1024) + bytes(4096)


def bmp(width, height, *, run_lengths=False):
    body = b"\xff\0" * 2000 + b"\0\1"
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, run_lengths, len(body), 0, 0, 2, 0)
    return (
        b"BM"
        + struct.pack("<IHHI", 14 + len(info) + 8 + len(body), 0, 0, 14 + 40 + 8)
        + info
        + bytes(8)
        + body
    )


def avif(side, said=64):
    """Of ``side`` pixels each way, though its boxes say ``said``."""
    content = bytearray(zlib.decompress(base64.b85decode(_RED_AVIFS[side])))
    place = content.find(b"ispe")
    while said and place >= 0:
        content[place + 8 : place + 16] = struct.pack(">II", said, said)
        place = content.find(b"ispe", place + 4)
    return bytes(content)


def ico(inside):
    return (
        struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(inside), 22) + inside
    )


def progressive_jpeg_of_many_passes():
    content = saved(noise(size=(512, 512)), "JPEG", progressive=True)
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + last * 2_000 + content[-2:]


def bombs():
    """By name. All but those at the very limit should be refused; none may take more than the limit of memory."""
    note = zeros(50_020_000)
    frames = struct.pack(">II", 5_000, 0)
    return {
        "png of 900 megapixels": png(30_000, 30_000),
        "png of 400 megapixels, all of them there": png(
            20_000, 20_000, depth=1, colour=0, pixels=zeros(50_020_000)
        ),
        "png of the longest sides": png(2**31 - 1, 2**31 - 1),
        "png at the limit": png(6_300, 6_300, colour=6, pixels=zeros(159_000_000)),
        "png at the limit, interlaced": png(6_300, 6_300, colour=6, interlaced=1, pixels=zeros(159_000_000)),
        "png with more pixels than it says": png(100, 100, pixels=zeros(100_000_000)),
        "png with a comment that unfolds": png(40, 40, before=chunk(b"zTXt", b"Comment\0\0" + note)),
        "png with a profile that unfolds": png(40, 40, before=chunk(b"iCCP", b"x\0\0" + note)),
        "png with thousands of frames": png(
            5_700, 5_700, before=chunk(b"acTL", frames), pixels=zeros(100_000_000)
        ),
        "gif of 4,295 megapixels": gif((65_535, 65_535), (65_535, 65_535)),
        "gif with a huge screen": gif((65_535, 65_535), (2, 2)),
        "gif with a frame larger than its screen": gif((2, 2), (65_535, 65_535)),
        "gif of thousands of frames": gif((6_000, 6_000), (6_000, 6_000), 5_000),
        "webp of 268 megapixels": webp(16_383, 16_383),
        "webp at the limit": webp(3_750, 3_750),
        "avif of 64 megapixels that says 64 by 64": avif(8_000),
        "avif of 256 megapixels that says 64 by 64": avif(16_000),
        "avif of 256 megapixels": avif(16_000, said=0),
        "avif of 64 megapixels that says 60,000,000 by 60,000,000": avif(8_000, said=60_000_000),
        "blp of 4,295 megapixels": blp(65_535, 65_535, 2),
        "blp of 400 megapixels, by palette": blp(20_000, 20_000, 1),
        "blp of 36 megapixels": blp(6_000, 6_000, 2),
        "tiff of 4,295 megapixels": plain_tiff(65_535, 65_535, zeros(1_000)),
        "tiff of 100 megapixels, all of them there": plain_tiff(10_000, 10_000, zeros(100_000_000)),
        "tiff with a tile that outgrows it": plain_tiff(
            10, 10, zeros(1_000), t322=60_000, t323=60_000, t324=8, t325=100
        ),
        "tiff with four thousand million samples": plain_tiff(1_000, 1_000, zeros(1_000), t277=65_535),
        "jpeg of 4,295 megapixels": jpeg(65_535, 65_535),
        "progressive jpeg at the limit": jpeg(6_300, 6_300, progressive=True),
        "progressive jpeg of thousands of passes": progressive_jpeg_of_many_passes(),
        "bmp of 900 megapixels": bmp(30_000, 30_000),
        "bmp of the longest sides": bmp(2**31 - 1, -(2**31) + 1),
        "bmp of 40 megapixels in runs": bmp(6_300, 6_300, run_lengths=True),
        "ico with a png of 400 megapixels": ico(
            png(20_000, 20_000, depth=1, colour=0, pixels=zeros(50_020_000))
        ),
    }
