/* Nacre: a deep-learning framework in C. This header includes all the others. */
#ifndef NACRE_H
#define NACRE_H

#include <nacre/data.h>
#include <nacre/export.h>
#include <nacre/grad.h>
#include <nacre/io.h>
#include <nacre/loss.h>
#include <nacre/nn.h>
#include <nacre/ops.h>
#include <nacre/optim.h>
#include <nacre/plan.h>
#include <nacre/status.h>
#include <nacre/system.h>
#include <nacre/tensor.h>
#include <nacre/train.h>
#include <nacre/tuning.h>

#endif
