/* encoder/kernel_avx512_vnni.c — as kernel_avx512.c, with int8 products as an instruction: four
 * multiply-adds a lane (AVX512-VNNI). */
#if defined(__AVX512VNNI__)
#include "encoder/kernel_avx512_lanes.h"
#include "encoder/kernel_avx512_quads.h"
#define BF16_GROUP 1
#include "encoder/kernel_body.h"
#include "encoder/kernel_body_head.h"
#include "encoder/kernel_body_int8.h"
const kernel kernel_avx512_vnni = KERNEL_SET("avx512_vnni");
#else
#include "encoder/kernel_internal.h"
const kernel kernel_avx512_vnni = {.name = "avx512_vnni"}; /* another processor family */
#endif
