/* Losses from the inside. */
#ifndef NACRE_LOSS_LOSS_H
#define NACRE_LOSS_LOSS_H

#include <nacre/loss.h>

/* Lets the loss change the network before training (nacre_loss_class.simplify). */
nacre_status nacre_loss_simplify(nacre_loss *loss, nacre_module *network);

/* The loss's error as the thread's last one; NACRE_OK without one. */
nacre_status nacre_loss_check(const nacre_loss *loss, const char *what);

#endif
