/* vlm/blend.c — how judgements move hits: by a bounded amount, whatever the judge says. */
#include "vlm/vlm_internal.h"

#include <math.h>

im_vlm_weights im_vlm_weights_default(void)
{
    return (im_vlm_weights){.offset = 0, .scale = 1, .weight = IM_VLM_MOST_WEIGHT};
}

im_vlm_weights im_vlm_weights_bound(im_vlm_weights weights)
{
    double most = weights.calibrated ? 1.0 : IM_VLM_MOST_WEIGHT;
    bool sound = isfinite(weights.offset) && isfinite(weights.scale) && weights.scale > 0 &&
                 isfinite(weights.weight) && weights.weight >= 0;
    weights.weight = sound ? IM_MIN(weights.weight, most) : 0;
    weights.offset = sound ? weights.offset : 0;
    weights.scale = sound ? weights.scale : 1;
    return weights;
}

im_vlm_weights im_vlm_weights_list(im_vlm_weights weights)
{
    weights = im_vlm_weights_bound(weights);
    return (im_vlm_weights){.scale = 1, .weight = IM_MIN(weights.weight, IM_VLM_MOST_WEIGHT)};
}

void im_vlm_blend(const im_vlm_weights *weights, const double *z, const double *s, const bool *has,
                  size_t n, double *out_final, size_t *out_order)
{
    const im_vlm_weights w = im_vlm_weights_bound(*weights);
    for (size_t i = 0; i < n; i++) {
        double x = has[i] && isfinite(s[i]) ? (s[i] - w.offset) * w.scale : 0;
        x = IM_MAX(-IM_VLM_CLIP, IM_MIN(IM_VLM_CLIP, x));
        out_final[i] = z[i] + w.weight * x;
    }
    for (size_t i = 0; i < n; i++) { /* stable insertion: n is a page */
        size_t place = i;
        while (place > 0 && out_final[out_order[place - 1]] < out_final[i]) {
            out_order[place] = out_order[place - 1];
            place--;
        }
        out_order[place] = i;
    }
}
