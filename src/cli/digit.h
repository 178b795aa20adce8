/* Any picture of one digit, made to look like MNIST's. */
#ifndef NACRE_CLI_DIGIT_H
#define NACRE_CLI_DIGIT_H

#include <nacre/io.h>

/* pixels: [28, 28], the stroke bright on 0, as LeCun, Cortes and Burges made MNIST: the digit's box is
   scaled into 20 x 20 with its aspect kept, then placed so that its centre of mass is the picture's
   centre. Dark digits on light ground are told by the border, and inverted; an even frame around the
   ground is taken away. A picture of 28 x 28 whose digit has at most 20 x 20 already is one of these: it
   keeps its place.
   NACRE_INVALID_ARGUMENT for a picture without anything on it. */
nacre_status nacre_cli_digit(nacre_image *image, const char *name, float *pixels);

#endif
