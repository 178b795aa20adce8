/* Fusing: chains of element-wise f32 steps become one step with a program, and a chain that begins with a product's
   result becomes the product's epilogue. Each op still rounds to f32, so fusing changes no bits. */
#include "plan/groups.h"

#include <stdio.h>
#include <string.h>

static int register_of(const plan_groups *f, const plan_group *g, int first_code, int id) {
    if (id == nacre_group_product(f, g)) {
        return 0;
    }
    for (int i = 0; i < g->count; i++) {
        if (f->plan->steps[g->members[i]].out[0] == id) {
            return first_code + i;
        }
    }
    for (int i = 0; i < g->input_count; i++) {
        if (g->inputs[i] == id) {
            return i + (g->product >= 0);
        }
    }
    return -1;
}

static bool is_stored(const plan_groups *f, int id) {
    return f->read_outside[id] || f->plan->values[id].place == PLACE_ROOT;
}

static bool add_result(plan_step *step, int id, int reg) {
    nacre_program *program = step->program;
    if (program->outputs == NACRE_PROGRAM_OUTPUTS) {
        return false;
    }
    step->out[program->outputs] = id;
    program->result[program->outputs++] = reg;
    return true;
}

void nacre_plan_label(nacre_plan *plan, plan_step *step, const char *before, const nacre_op *op) {
    char text[160];
    size_t start = (size_t)snprintf(text, sizeof text, "%s", before);
    size_t used =
        start + (size_t)snprintf(text + start, sizeof text - start, "%s", op ? op->name : "");
    int codes = step->program ? step->program->codes : 0;
    for (int i = 0; i < codes && used < sizeof text - 24; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used, used > start ? "+%s" : "%s",
                                 step->program->code[i].op->name);
    }
    char *label = nacre_plan_alloc(plan, 1, used + 1);
    if (label) {
        memcpy(label, text, used + 1);
    }
    step->label = label ? label : "group";
}

/* Too many stored results: only of groups that many others read, or whose product cannot store them. */
static bool fits(const plan_groups *f, const plan_group *g) {
    const plan_step *product = g->product < 0 ? NULL : &f->plan->steps[g->product];
    int stored = product && is_stored(f, product->out[0]);
    for (int i = 0; i < g->count; i++) {
        stored += is_stored(f, f->plan->steps[g->members[i]].out[0]);
    }
    if (product && !f->plan->backend->stores(product->op, stored)) return false;
    return stored + (product ? product->outputs - 1 : 0) <= NACRE_PROGRAM_OUTPUTS;
}

static bool emit_group(plan_groups *f, const plan_group *g, plan_step *out) {
    nacre_plan *plan = f->plan;
    nacre_program *program = nacre_plan_alloc(plan, 1, sizeof *program);
    if (!program) {
        return false;
    }
    bool folded = g->product >= 0;
    *out = plan->steps[folded ? g->product : g->members[0]];
    int own = folded ? out->inputs : 0;
    memset(out->in + own, -1, sizeof out->in - (size_t)own * sizeof out->in[0]);
    memset(out->out, -1, sizeof out->out);
    memcpy(out->in + own, g->inputs, (size_t)g->input_count * sizeof g->inputs[0]);
    out->program = program;
    out->own = own;
    out->inputs = own + g->input_count;
    if (!folded) {
        out->record = plan->steps[g->members[g->count - 1]].record;
        out->op = NULL;
        out->attrs = NULL;
    }
    program->inputs = g->input_count + folded;
    program->codes = g->count;
    bool ok = true;
    if (folded && is_stored(f, nacre_group_product(f, g))) {
        ok = add_result(out, nacre_group_product(f, g), 0);
    }
    for (int i = 0; ok && i < g->count; i++) {
        const plan_step *member = &plan->steps[g->members[i]];
        nacre_instruction *code = &program->code[i];
        code->op = member->op;
        code->attrs = member->attrs;
        for (int k = 0; k < member->inputs; k++) {
            code->argument[k] = register_of(f, g, program->inputs, member->in[k]);
        }
        if (is_stored(f, member->out[0])) {
            ok = add_result(out, member->out[0], program->inputs + i);
        }
    }
    out->outputs = program->outputs;
    for (int k = 1; folded && k < plan->steps[g->product].outputs; k++)
        out->out[out->outputs++] = plan->steps[g->product].out[k];
    plan->fused += g->count - 1 + folded;
    nacre_plan_label(plan, out, "", folded ? plan->steps[g->product].op : NULL);
    return ok;
}

/* The product by itself, and its result an input of the group. */
static void unfold(plan_groups *f, plan_group *g) {
    g->inputs[g->input_count++] = nacre_group_product(f, g);
    f->folded[g->product] = -1;
    g->product = -1;
}

/* The members one by one, each a group of its own, where they stood. */
static void dissolve(plan_groups *f, plan_group *g) {
    for (int i = 0; i < g->count; i++) {
        f->group_of[g->members[i]] = -1;
    }
    if (g->product >= 0) {
        f->folded[g->product] = -1;
    }
    g->count = 0;
}

static bool emit(plan_groups *f) {
    nacre_plan *plan = f->plan;
    plan_step *steps = nacre_plan_alloc(plan, (size_t)plan->step_capacity, sizeof *steps);
    if (!steps) {
        return false;
    }
    for (int i = 0; i < f->group_count; i++) {
        plan_group *g = &f->groups[i];
        if (!fits(f, g) && g->product >= 0 && !g->early) unfold(f, g);
        if (!fits(f, g)) {
            dissolve(f, g);
        }
    }
    int count = 0;
    for (int i = 0; i < plan->step_count; i++) {
        int at = f->folded[i] >= 0 ? f->folded[i] : f->group_of[i];
        if (at < 0) {
            steps[count] = plan->steps[i];
            steps[count].label = steps[count].op->name;
            count++;
        } else if (f->groups[at].position == i) {
            if (!emit_group(f, &f->groups[at], &steps[count++])) {
                return false;
            }
        }
    }
    plan->steps = steps;
    plan->step_count = count;
    return true;
}

bool nacre_plan_fuse(nacre_plan *plan) {
    plan_groups f;
    return nacre_plan_find_groups(&f, plan) && emit(&f);
}
