#include "data/glyphs.h"

#include <stddef.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof(*(array))))
/* clang-format off */
/* A stroke of n points, {x, y} each. */
#define LINE(n, ...) {n, false, {__VA_ARGS__}}
#define CURVE(n, ...) {n, true, {__VA_ARGS__}}

static const nacre_glyph zero[] = {
    {1, {CURVE(9, {.50f,.08f}, {.28f,.20f}, {.20f,.50f}, {.28f,.80f}, {.50f,.92f}, {.72f,.80f},
                  {.80f,.50f}, {.72f,.20f}, {.50f,.08f})}},
    {1, {CURVE(9, {.60f,.12f}, {.38f,.12f}, {.24f,.40f}, {.28f,.78f}, {.52f,.91f}, {.72f,.72f},
                  {.76f,.40f}, {.66f,.18f}, {.42f,.08f})}},
};

static const nacre_glyph one[] = {
    {1, {LINE(3, {.52f,.08f}, {.50f,.50f}, {.48f,.92f})}},
    {1, {LINE(3, {.34f,.28f}, {.54f,.08f}, {.52f,.92f})}},
    {2, {LINE(3, {.34f,.26f}, {.54f,.08f}, {.52f,.92f}), LINE(2, {.30f,.92f}, {.74f,.92f})}},
};

static const nacre_glyph two[] = {
    {2, {CURVE(7, {.24f,.28f}, {.36f,.10f}, {.62f,.10f}, {.74f,.28f}, {.64f,.50f}, {.40f,.72f},
                  {.22f,.90f}),
         LINE(2, {.22f,.90f}, {.78f,.90f})}},
    {1, {CURVE(10, {.22f,.24f}, {.44f,.08f}, {.70f,.20f}, {.66f,.46f}, {.42f,.76f}, {.24f,.88f},
                   {.22f,.76f}, {.38f,.76f}, {.58f,.88f}, {.80f,.86f})}},
};

static const nacre_glyph three[] = {
    {2, {CURVE(5, {.24f,.18f}, {.46f,.08f}, {.70f,.20f}, {.66f,.40f}, {.44f,.48f}),
         CURVE(5, {.44f,.48f}, {.70f,.54f}, {.76f,.74f}, {.56f,.91f}, {.24f,.84f})}},
    {2, {LINE(3, {.24f,.10f}, {.74f,.10f}, {.46f,.44f}),
         CURVE(5, {.46f,.44f}, {.72f,.52f}, {.76f,.74f}, {.54f,.92f}, {.22f,.82f})}},
};

static const nacre_glyph four[] = {
    {2, {LINE(3, {.30f,.10f}, {.22f,.56f}, {.80f,.56f}), LINE(2, {.66f,.10f}, {.62f,.92f})}},
    {1, {LINE(4, {.62f,.92f}, {.64f,.08f}, {.20f,.62f}, {.82f,.62f})}},
    {2, {CURVE(5, {.26f,.10f}, {.22f,.38f}, {.32f,.52f}, {.54f,.52f}, {.72f,.42f}),
         LINE(2, {.74f,.10f}, {.66f,.92f})}},
};

static const nacre_glyph five[] = {
    {2, {LINE(3, {.74f,.10f}, {.34f,.10f}, {.30f,.44f}),
         CURVE(6, {.30f,.44f}, {.54f,.40f}, {.76f,.56f}, {.72f,.80f}, {.48f,.92f}, {.22f,.84f})}},
    {2, {CURVE(6, {.38f,.12f}, {.32f,.46f}, {.60f,.46f}, {.74f,.66f}, {.58f,.88f}, {.24f,.88f}),
         LINE(2, {.38f,.12f}, {.78f,.08f})}},
};

static const nacre_glyph six[] = {
    {1, {CURVE(9, {.66f,.08f}, {.42f,.24f}, {.26f,.52f}, {.26f,.78f}, {.46f,.92f}, {.68f,.82f},
                  {.70f,.62f}, {.52f,.50f}, {.30f,.62f})}},
    {1, {CURVE(9, {.50f,.06f}, {.34f,.34f}, {.26f,.66f}, {.36f,.88f}, {.58f,.90f}, {.72f,.74f},
                  {.62f,.56f}, {.42f,.58f}, {.30f,.72f})}},
};

static const nacre_glyph seven[] = {
    {1, {LINE(3, {.22f,.12f}, {.78f,.12f}, {.44f,.92f})}},
    {2, {LINE(3, {.22f,.12f}, {.78f,.12f}, {.44f,.92f}), LINE(2, {.38f,.52f}, {.74f,.50f})}},
    {1, {CURVE(5, {.22f,.22f}, {.40f,.12f}, {.74f,.12f}, {.62f,.42f}, {.48f,.92f})}},
};

static const nacre_glyph eight[] = {
    {1, {CURVE(11, {.66f,.14f}, {.44f,.08f}, {.30f,.22f}, {.42f,.42f}, {.64f,.58f}, {.72f,.78f},
                   {.50f,.92f}, {.28f,.78f}, {.40f,.54f}, {.66f,.34f}, {.66f,.14f})}},
    {2, {CURVE(7, {.50f,.46f}, {.34f,.38f}, {.30f,.18f}, {.50f,.08f}, {.70f,.18f}, {.66f,.38f},
                  {.50f,.46f}),
         CURVE(7, {.50f,.46f}, {.28f,.58f}, {.26f,.80f}, {.50f,.92f}, {.74f,.80f}, {.72f,.58f},
                  {.50f,.46f})}},
};

static const nacre_glyph nine[] = {
    {2, {CURVE(7, {.70f,.26f}, {.56f,.10f}, {.34f,.16f}, {.28f,.36f}, {.46f,.50f}, {.66f,.42f},
                  {.70f,.26f}),
         CURVE(3, {.70f,.26f}, {.70f,.56f}, {.62f,.92f})}},
    {2, {CURVE(7, {.70f,.26f}, {.56f,.10f}, {.34f,.16f}, {.28f,.36f}, {.46f,.50f}, {.66f,.42f},
                  {.70f,.26f}),
         CURVE(4, {.70f,.26f}, {.74f,.60f}, {.58f,.88f}, {.32f,.88f})}},
};
/* clang-format on */

static const struct {
    const nacre_glyph *glyphs;
    int variants;
} digits[10] = {
    {zero, COUNT(zero)},   {one, COUNT(one)},   {two, COUNT(two)}, {three, COUNT(three)},
    {four, COUNT(four)},   {five, COUNT(five)}, {six, COUNT(six)}, {seven, COUNT(seven)},
    {eight, COUNT(eight)}, {nine, COUNT(nine)},
};

const nacre_glyph *nacre_glyphs(int digit, int *variants) {
    *variants = digits[digit].variants;
    return digits[digit].glyphs;
}
