#include "cli/curves.h"

#include <math.h>
#include <stdio.h>

/* ---- the curve of the steps ---- */

static void halve(nacre_cli_curve *curve) {
    for (int i = 0; i < NACRE_CLI_CURVE_POINTS / 2; i++) {
        curve->mean[i] = 0.5F * (curve->mean[2 * i] + curve->mean[2 * i + 1]);
    }
    curve->points = NACRE_CLI_CURVE_POINTS / 2;
    curve->stride *= 2;
}

void nacre_cli_curve_add(nacre_cli_curve *curve, double loss) {
    if (curve->stride == 0) {
        curve->stride = 1;
    }
    curve->steps++;
    if (!isfinite(loss)) {
        return;
    }
    curve->sum += loss;
    curve->count++;
    if (curve->count < curve->stride) {
        return;
    }
    if (curve->points == NACRE_CLI_CURVE_POINTS) {
        halve(curve);
        return; /* the point goes on: it is half full at the new stride */
    }
    curve->mean[curve->points++] = (float)(curve->sum / (double)curve->count);
    curve->sum = 0;
    curve->count = 0;
}

/* ---- drawing ---- */

typedef struct panel {
    double left, top, width, height; /* of the plotting area, in pixels */
    double x_high;                   /* epochs */
    double y_low, y_high, y_step;
} panel;

/* 1, 2 or 5 times a power of ten: at most `intervals` of them cover `range`. */
static double nice_step(double range, int intervals) {
    double rough = range / intervals;
    double power = pow(10, floor(log10(rough)));
    double mantissa = rough / power;
    return power * (mantissa <= 1 ? 1 : mantissa <= 2 ? 2 : mantissa <= 5 ? 5 : 10);
}

static double x_of(const panel *p, double x) { return p->left + p->width * x / p->x_high; }

static double y_of(const panel *p, double y) {
    double share = (y - p->y_low) / (p->y_high - p->y_low);
    share = share < 0 ? 0 : share > 1 ? 1 : share;
    return p->top + p->height * (1 - share);
}

static void set_range(panel *p, double low, double high) {
    if (!(high > low)) {
        high = low + 1;
    }
    p->y_step = nice_step(high - low, 6);
    p->y_low = p->y_step * floor(low / p->y_step);
    p->y_high = p->y_step * ceil(high / p->y_step);
}

static void draw_axes(const panel *p, const char *name, bool percent, nacre_text *svg) {
    double bottom = p->top + p->height, right = p->left + p->width;
    nacre_text_append(svg, "<text class=\"title\" x=\"%.1f\" y=\"%.1f\">%s</text>\n", p->left,
                      p->top - 12, name);
    int lines = (int)lround((p->y_high - p->y_low) / p->y_step);
    for (int i = 0; i <= lines; i++) {
        double value = p->y_low + i * p->y_step, y = y_of(p, value);
        nacre_text_append(svg, "<path class=\"grid\" d=\"M%.1f %.1fH%.1f\"/>\n", p->left, y, right);
        nacre_text_append(svg, "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">",
                          p->left - 6, y + 4);
        nacre_text_append(svg, percent ? "%.4g %%</text>\n" : "%.4g</text>\n",
                          percent ? 100 * value : value);
    }
    double step = fmax(1, nice_step(p->x_high, 10));
    for (double x = 0; x <= p->x_high * (1 + 1e-9); x += step) {
        nacre_text_append(
            svg,
            "<path class=\"axis\" d=\"M%.1f %.1fv5\"/><text class=\"tick\" x=\"%.1f\" "
            "y=\"%.1f\" text-anchor=\"middle\">%.6g</text>\n",
            x_of(p, x), bottom, x_of(p, x), bottom + 19, x);
    }
    nacre_text_append(svg, "<path class=\"axis\" d=\"M%.1f %.1fV%.1fH%.1f\"/>\n", p->left, p->top,
                      bottom, right);
    nacre_text_append(
        svg,
        "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">epoch</text>"
        "\n",
        p->left + p->width / 2, bottom + 38);
}

static void legend(const panel *p, int row, const char *class_, const char *name, nacre_text *svg) {
    double x = p->left + p->width - 120, y = p->top - 16 - 16 * row;
    nacre_text_append(svg,
                      "<path class=\"%s\" d=\"M%.1f %.1fh22\"/><text class=\"tick\" x=\"%.1f\" "
                      "y=\"%.1f\">%s</text>\n",
                      class_, x, y, x + 28, y + 4, name);
}

/* One of an epoch's four figures. */
static double figure(const nacre_epoch_report *epoch, bool accuracy, bool test) {
    const nacre_metrics *metrics = test ? &epoch->validation : &epoch->train;
    if (metrics->samples == 0) {
        return NAN;
    }
    return accuracy ? metrics->accuracy : metrics->loss;
}

static void draw_epochs(const panel *p, const nacre_epoch_report *epochs, int64_t count,
                        bool accuracy, bool test, nacre_text *svg) {
    const char *class_ = test ? "test" : "train";
    nacre_text_append(svg, "<path class=\"%s\" d=\"", class_);
    char letter = 'M';
    for (int64_t i = 0; i < count; i++) {
        double y = figure(&epochs[i], accuracy, test);
        if (isfinite(y)) {
            nacre_text_append(svg, "%c%.1f %.1f", letter, x_of(p, (double)(i + 1)), y_of(p, y));
            letter = 'L';
        }
    }
    nacre_text_append(svg, "\"/>\n");
    for (int64_t i = 0; count <= 60 && i < count; i++) {
        double y = figure(&epochs[i], accuracy, test);
        if (isfinite(y)) {
            nacre_text_append(svg, "<circle class=\"%s dot\" cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\"/>\n",
                              class_, x_of(p, (double)(i + 1)), y_of(p, y));
        }
    }
}

static void draw_steps(const panel *p, const nacre_cli_curve *curve, int64_t steps_per_epoch,
                       nacre_text *svg) {
    nacre_text_append(svg, "<path class=\"steps\" d=\"");
    for (int i = 0; i < curve->points; i++) {
        double x = ((double)i + 0.5) * (double)curve->stride / (double)steps_per_epoch;
        nacre_text_append(svg, "%c%.1f %.1f", i == 0 ? 'M' : 'L', x_of(p, x),
                          y_of(p, curve->mean[i]));
    }
    nacre_text_append(svg, "\"/>\n");
}

/* The least and the greatest finite figure of the epochs. */
static void epoch_range(const nacre_epoch_report *epochs, int64_t count, bool accuracy, double *low,
                        double *high) {
    for (int64_t i = 0; i < count; i++) {
        for (int test = 0; test < 2; test++) {
            double y = figure(&epochs[i], accuracy, test);
            if (isfinite(y)) {
                *low = fmin(*low, y);
                *high = fmax(*high, y);
            }
        }
    }
}

static void append_escaped(nacre_text *svg, const char *title) {
    for (; *title; title++) {
        if (*title == '<' || *title == '&') {
            nacre_text_append(svg, *title == '<' ? "&lt;" : "&amp;");
        } else {
            nacre_text_append_bytes(svg, title, 1);
        }
    }
}

static const char style[] =
    "<style>\n"
    "svg{background:#fff;color:#24292f;font-family:system-ui,sans-serif}\n"
    "text{fill:currentColor}.head{font-size:16px;font-weight:600}\n"
    ".title{font-size:14px;font-weight:600}.tick{font-size:11px}\n"
    "path{fill:none}.axis{stroke:currentColor}.grid{stroke:currentColor;opacity:.15}\n"
    ".steps{stroke:#8250df;opacity:.45}.train{stroke:#0969da;stroke-width:2}\n"
    ".test{stroke:#bc4c00;stroke-width:2}.dot{stroke:none}\n"
    ".train.dot{fill:#0969da}.test.dot{fill:#bc4c00}\n"
    "@media (prefers-color-scheme:dark){svg{background:#0d1117;color:#e6edf3}\n"
    ".steps{stroke:#bc8cff}.train{stroke:#58a6ff}.test{stroke:#ffa657}\n"
    ".train.dot{fill:#58a6ff}.test.dot{fill:#ffa657}}\n"
    "</style>\n";

void nacre_cli_curves_draw(const nacre_cli_curve *curve, const nacre_epoch_report *epochs,
                           int64_t count, int64_t steps_per_epoch, const char *title,
                           nacre_text *svg) {
    double reached = (double)curve->steps / (double)(steps_per_epoch > 0 ? steps_per_epoch : 1);
    panel loss = {.left = 60, .top = 90, .width = 380, .height = 260};
    panel accuracy = {.left = 550, .top = 90, .width = 380, .height = 260};
    loss.x_high = accuracy.x_high = fmax(1, fmax(ceil(reached), (double)count));

    double low = 0, high = 0;
    epoch_range(epochs, count, false, &low, &high);
    for (int i = 0; i < curve->points; i++) {
        if (curve->mean[i] > high) {
            high = curve->mean[i];
        }
    }
    set_range(&loss, 0, high);
    low = 1;
    high = 0;
    epoch_range(epochs, count, true, &low, &high);
    if (high < low || low == 1) {
        low = 0;
    }
    set_range(&accuracy, low, 1);

    nacre_text_append(
        svg, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 960 420\" width=\"960\" "
             "height=\"420\" role=\"img\">\n<title>");
    append_escaped(svg, title);
    nacre_text_append(svg, "</title>\n%s<text class=\"head\" x=\"20\" y=\"28\">", style);
    append_escaped(svg, title);
    nacre_text_append(svg, "</text>\n");
    draw_axes(&loss, "Loss", false, svg);
    draw_steps(&loss, curve, steps_per_epoch > 0 ? steps_per_epoch : 1, svg);
    draw_epochs(&loss, epochs, count, false, false, svg);
    draw_epochs(&loss, epochs, count, false, true, svg);
    draw_axes(&accuracy, "Accuracy", true, svg);
    draw_epochs(&accuracy, epochs, count, true, false, svg);
    draw_epochs(&accuracy, epochs, count, true, true, svg);
    for (int i = 0; i < 2; i++) {
        const panel *p = i ? &accuracy : &loss;
        legend(p, 0, "test", "test", svg);
        legend(p, 1, "train", "training", svg);
    }
    legend(&loss, 2, "steps", "training steps", svg);
    nacre_text_append(svg, "</svg>\n");
}
