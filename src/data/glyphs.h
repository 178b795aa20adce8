/* How digits are written: strokes in a unit square, x to the right and y down. */
#ifndef NACRE_DATA_GLYPHS_H
#define NACRE_DATA_GLYPHS_H

#include <stdbool.h>

enum { NACRE_STROKE_POINTS = 12, NACRE_GLYPH_STROKES = 3 };

typedef struct nacre_stroke {
    int points;
    bool
        smooth; /* a curve through the points, else straight lines; closed if it ends where it began */
    float at[NACRE_STROKE_POINTS][2];
} nacre_stroke;

typedef struct nacre_glyph {
    int strokes;
    nacre_stroke stroke[NACRE_GLYPH_STROKES];
} nacre_glyph;

/* The ways to write a digit from 0 to 9. */
const nacre_glyph *nacre_glyphs(int digit, int *variants);

#endif
