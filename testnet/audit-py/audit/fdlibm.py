"""fdlibm's exp, log, log1p, lgamma and erfc, to the bit (STATISTICS.md §2).

Ported from FreeBSD's msun (e_exp.c, e_log.c, s_log1p.c, e_lgamma_r.c, s_erf.c). Copyright (C) 1993
by Sun Microsystems, Inc. All rights reserved. Developed at SunPro, a Sun Microsystems, Inc.
business. Permission to use, copy, modify, and distribute this software is freely granted, provided
that this notice is preserved.

The platform's own functions round differently in the last bit now and then, and what these numbers
become is part of the ledger. Arguments of `lgamma` are positive here.
"""

from __future__ import annotations

import math
import struct

_LN2_HI, _LN2_LO = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_INV_LN2 = 1.44269504088896338700e00
_EXP = (
    1.66666666666666019037e-01,
    -2.77777777770155933842e-03,
    6.61375632143793436117e-05,
    -1.65339022054652515390e-06,
    4.13813679705723846039e-08,
)
_LG = (
    6.666666666666735130e-01,
    3.999999999940941908e-01,
    2.857142874366239149e-01,
    2.222219843214978396e-01,
    1.818357216161805012e-01,
    1.531383769920937332e-01,
    1.479819860511658591e-01,
)
_A = (
    0.07721566490153287,
    0.3224670334241136,
    0.06735230105312927,
    0.020580808432516733,
    0.007385550860814029,
    0.0028905138367341563,
    0.0011927076318336207,
    0.0005100697921535113,
    0.00022086279071390839,
    0.00010801156724758394,
    2.5214456545125733e-05,
    4.4864094961891516e-05,
)
_T = (
    0.48383612272381005,
    -0.1475877229945939,
    0.06462494023913339,
    -0.032788541075985965,
    0.01797067508118204,
    -0.010314224129834144,
    0.006100538702462913,
    -0.0036845201678113826,
    0.0022596478090061247,
    -0.0014034646998923284,
    0.000881081882437654,
    -0.0005385953053567405,
    0.00031563207090362595,
    -0.00031275416837512086,
    0.0003355291926355191,
)
_TC, _TF, _TT = 1.4616321449683622, -0.12148629053584961, -3.638676997039505e-18
_U = (
    -0.07721566490153287,
    0.6328270640250934,
    1.4549225013723477,
    0.9777175279633727,
    0.22896372806469245,
    0.013381091853678766,
)
_V = (
    2.4559779371304113,
    2.128489763798934,
    0.7692851504566728,
    0.10422264559336913,
    0.003217092422824239,
)
_S = (
    -0.07721566490153287,
    0.21498241596060885,
    0.325778796408931,
    0.14635047265246445,
    0.02664227030336386,
    0.0018402845140733772,
    3.194753265841009e-05,
)
_R = (
    1.3920053346762105,
    0.7219355475671381,
    0.17193386563280308,
    0.01864591917156529,
    0.0007779424963818936,
    7.326684307446256e-06,
)
_W = (
    0.4189385332046727,
    0.08333333333333297,
    -0.0027777777772877554,
    0.0007936505586430196,
    -0.00059518755745034,
    0.0008363399189962821,
    -0.0016309293409657527,
)
_RA = (
    -0.009864944034847148,
    -0.6938585727071818,
    -10.558626225323291,
    -62.375332450326006,
    -162.39666946257347,
    -184.60509290671104,
    -81.2874355063066,
    -9.814329344169145,
)
_SA = (
    19.651271667439257,
    137.65775414351904,
    434.56587747522923,
    645.3872717332679,
    429.00814002756783,
    108.63500554177944,
    6.570249770319282,
    -0.0604244152148581,
)
_RB = (
    -0.0098649429247001,
    -0.799283237680523,
    -17.757954917754752,
    -160.63638485582192,
    -637.5664433683896,
    -1025.0951316110772,
    -483.5191916086514,
)
_SB = (
    30.33806074348246,
    325.7925129965739,
    1536.729586084437,
    3199.8582195085955,
    2553.0504064331644,
    474.52854120695537,
    -22.44095244658582,
)
_PA = (
    -0.0023621185607526594,
    0.41485611868374833,
    -0.3722078760357013,
    0.31834661990116175,
    -0.11089469428239668,
    0.035478304325618236,
    -0.002166375594868791,
)
_QA = (
    0.10642088040084423,
    0.540397917702171,
    0.07182865441419627,
    0.12617121980876164,
    0.01363708391202905,
    0.011984499846799107,
)
_PP = (
    0.12837916709551256,
    -0.3250421072470015,
    -0.02848174957559851,
    -0.005770270296489442,
    -2.3763016656650163e-05,
)
_QQ = (
    0.39791722395915535,
    0.0650222499887673,
    0.005081306281875766,
    0.00013249473800432164,
    -3.960228278775368e-06,
)
_ERX = 0.8450629115104675


def _bits(x: float) -> int:
    return int(struct.unpack("<Q", struct.pack("<d", x))[0])


def _float(bits: int) -> float:
    return float(struct.unpack("<d", struct.pack("<Q", bits))[0])


def _poly(x: float, coefficients: tuple[float, ...]) -> float:
    """c₀ + x·(c₁ + x·(c₂ + …))."""
    total = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        total = coefficient + x * total
    return total


def exp(x: float) -> float:
    """e to the power x."""
    if math.isnan(x):
        return x
    if x > 709.782712893383973096:
        return math.inf
    if x < -745.13321910194110842:
        return 0.0
    high_word = _bits(x) >> 32 & 0x7FFFFFFF
    if high_word > 0x3FD62E42:
        if high_word >= 0x3FF0A2B2:
            k = int(_INV_LN2 * x + (-0.5 if x < 0 else 0.5))
        else:
            k = -1 if x < 0 else 1
        hi, lo = x - k * _LN2_HI, k * _LN2_LO
        x = hi - lo
    elif high_word > 0x3E300000:
        k, hi, lo = 0, x, 0.0
    else:
        return 1.0 + x
    xx = x * x
    c = x - xx * _poly(xx, _EXP)
    y = 1.0 + (x * c / (2.0 - c) - lo + hi)
    return math.ldexp(y, k)


def _log_tail(f: float) -> tuple[float, float, float]:
    """f²/2, s and the series of log(1 + f)."""
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    t1 = w * (_LG[1] + w * (_LG[3] + w * _LG[5]))
    t2 = z * (_LG[0] + w * (_LG[2] + w * (_LG[4] + w * _LG[6])))
    return 0.5 * f * f, s, t2 + t1


def log(x: float) -> float:
    """Natural logarithm."""
    if math.isnan(x) or x < 0.0:
        return math.nan
    if x == 0.0:
        return -math.inf
    if math.isinf(x) or x == 1.0:
        return x if math.isinf(x) else 0.0
    k = 0
    if x < 2.2250738585072014e-308:
        k, x = -54, x * 18014398509481984.0
    bits = _bits(x)
    high_word = (bits >> 32) + (0x3FF00000 - 0x3FE6A09E)
    k += (high_word >> 20) - 0x3FF
    high_word = (high_word & 0x000FFFFF) + 0x3FE6A09E
    f = _float(high_word << 32 | bits & 0xFFFFFFFF) - 1.0
    hfsq, s, r = _log_tail(f)
    return s * (hfsq + r) + k * _LN2_LO - hfsq + f + k * _LN2_HI


def log1p(x: float) -> float:
    """log(1 + x)."""
    if math.isnan(x) or x <= -1.0 or x == math.inf:
        return -math.inf if x == -1.0 else x if x == math.inf else math.nan
    high_word = _bits(x) >> 32
    k, c, f = 1, 0.0, 0.0
    if high_word < 0x3FDA827A or high_word >> 31:
        if (high_word << 1 & 0xFFFFFFFF) < 0x3CA00000 << 1:
            return x
        if high_word <= 0xBFD2BEC4:
            k, f = 0, x
    if k:
        u = 1.0 + x
        bits = _bits(u)
        upper = (bits >> 32) + (0x3FF00000 - 0x3FE6A09E)
        k = (upper >> 20) - 0x3FF
        if k < 54:
            c = (1.0 - (u - x) if k >= 2 else x - (u - 1.0)) / u
        upper = (upper & 0x000FFFFF) + 0x3FE6A09E
        f = _float(upper << 32 | bits & 0xFFFFFFFF) - 1.0
    hfsq, s, r = _log_tail(f)
    return s * (hfsq + r) + (k * _LN2_LO + c) - hfsq + f + k * _LN2_HI


def _lgamma_below_two(x: float, high_word: int) -> float:
    if high_word <= 0x3FECCCCC:
        r = -log(x)
        if high_word >= 0x3FE76944:
            y, case = 1.0 - x, 0
        elif high_word >= 0x3FCDA661:
            y, case = x - (_TC - 1.0), 1
        else:
            y, case = x, 2
    else:
        r = 0.0
        if high_word >= 0x3FFBB4C3:
            y, case = 2.0 - x, 0
        elif high_word >= 0x3FF3B4C4:
            y, case = x - _TC, 1
        else:
            y, case = x - 1.0, 2
    z = y * y
    if case == 0:
        p = y * _poly(z, _A[0::2]) + z * _poly(z, _A[1::2])
        return r + (p - 0.5 * y)
    if case == 1:
        w = z * y
        p1, p2, p3 = (_poly(w, _T[start::3]) for start in range(3))
        p = z * p1 - (_TT - w * (p2 + y * p3))
        return r + (_TF + p)
    return r + (-0.5 * y + y * _poly(y, _U) / _poly(y, (1.0, *_V)))


def lgamma(x: float) -> float:
    """Logarithm of the gamma function, for x > 0."""
    high_word = _bits(x) >> 32
    if high_word >= 0x7FF00000:
        return x * x
    if high_word < (0x3FF - 70) << 20:
        return -log(x)
    if x in (1.0, 2.0):
        return 0.0
    if high_word < 0x40000000:
        return _lgamma_below_two(x, high_word)
    if high_word < 0x40200000:
        i = int(x)
        y = x - i
        r = 0.5 * y + y * _poly(y, _S) / _poly(y, (1.0, *_R))
        z = 1.0
        for step in range(i, 2, -1):
            z *= y + (step - 1)
        return r + log(z) if i >= 3 else r
    if high_word < 0x43900000:
        t, z = log(x), 1.0 / x
        w = _W[0] + z * _poly(z * z, _W[1:])
        return (x - 0.5) * (t - 1.0) + w
    return x * (log(x) - 1.0)


def _erfc_far(high_word: int, x: float) -> float:
    """erfc(|x|) for 0.84375 ≤ |x| < 28."""
    x = math.fabs(x)
    if high_word < 0x3FF40000:
        s = x - 1.0
        return 1.0 - _ERX - _poly(s, _PA) / _poly(s, (1.0, *_QA))
    s = 1.0 / (x * x)
    if high_word < 0x4006DB6D:
        r, big = _poly(s, _RA), _poly(s, (1.0, *_SA))
    else:
        r, big = _poly(s, _RB), _poly(s, (1.0, *_SB))
    z = _float(_bits(x) & ~0xFFFFFFFF)
    return exp(-z * z - 0.5625) * exp((z - x) * (z + x) + r / big) / x


def erfc(x: float) -> float:
    """Complementary error function."""
    if math.isnan(x) or math.isinf(x):
        return x if math.isnan(x) else 2.0 if x < 0 else 0.0
    bits = _bits(x)
    negative, high_word = bits >> 63, bits >> 32 & 0x7FFFFFFF
    if high_word < 0x3FEB0000:
        if high_word < 0x3C700000:
            return 1.0 - x
        z = x * x
        y = _poly(z, _PP) / _poly(z, (1.0, *_QQ))
        if negative or high_word < 0x3FD00000:
            return 1.0 - (x + x * y)
        return 0.5 - (x - 0.5 + x * y)
    if high_word < 0x403C0000:
        far = _erfc_far(high_word, x)
        return 2.0 - far if negative else far
    return 2.0 if negative else 0.0
