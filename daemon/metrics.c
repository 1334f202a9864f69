/* daemon/metrics.c — counters of the server's thread, written as Prometheus reads them. */
#include "base/clock.h"
#include "daemon/daemon_internal.h"

static const int statuses[METRICS_STATUSES] = {
    200, 201, 202, 204, 206, 304, 400, 401, 403, 404, 405, 408, 409, 412, 413, 414,
    415, 416, 417, 421, 422, 429, 431, 500, 501, 502, 503, 504, 505, 507, 0};
static const double bounds[METRICS_BUCKETS] = {.001, .0025, .005, .01, .025, .05, .1,
                                               .25,  .5,    1,    2.5, 5,    10};

void metrics_count(metrics *m, const exchange *ex)
{
    metrics_row *row = &m->rows[ex->route != NULL ? (size_t)ex->route->id : (size_t)ROUTE_COUNT];
    double seconds = im_clock_ms_since(ex->start_ns) / 1000;
    size_t status = 0;
    while (status < METRICS_STATUSES - 1 && statuses[status] != ex->status) {
        status++;
    }
    row->statuses[status]++;
    row->n++;
    row->seconds += seconds;
    for (size_t i = 0; i < METRICS_BUCKETS; i++) {
        row->buckets[i] += seconds <= bounds[i];
    }
}

static void put_labels(im_str *out, size_t row)
{
    if (row == ROUTE_COUNT) {
        im_str_add_c(out, "route=\"none\",method=\"\"");
        return;
    }
    im_str_addf(out, "route=\"%s\",method=\"%s\"", daemon_routes[row].path,
                route_method_name(daemon_routes[row].method, false));
}

static void put_requests(const metrics *m, im_str *out)
{
    im_str_add_c(out, "# HELP imago_requests_total Answers by route and status.\n"
                      "# TYPE imago_requests_total counter\n");
    for (size_t i = 0; i <= ROUTE_COUNT; i++) {
        for (size_t j = 0; j < METRICS_STATUSES; j++) {
            if (m->rows[i].statuses[j] > 0) {
                im_str_add_c(out, "imago_requests_total{");
                put_labels(out, i);
                im_str_addf(out, ",status=\"%d\"} %llu\n", statuses[j],
                            (unsigned long long)m->rows[i].statuses[j]);
            }
        }
    }
}

static void put_latencies(const metrics *m, im_str *out)
{
    im_str_add_c(out, "# HELP imago_request_seconds From a head's last byte to its answer.\n"
                      "# TYPE imago_request_seconds histogram\n");
    for (size_t i = 0; i <= ROUTE_COUNT; i++) {
        const metrics_row *row = &m->rows[i];
        for (size_t j = 0; row->n > 0 && j <= METRICS_BUCKETS; j++) {
            im_str_add_c(out, "imago_request_seconds_bucket{");
            put_labels(out, i);
            if (j < METRICS_BUCKETS) {
                im_str_addf(out, ",le=\"%g\"} %llu\n", bounds[j],
                            (unsigned long long)row->buckets[j]);
            } else {
                im_str_addf(out, ",le=\"+Inf\"} %llu\n", (unsigned long long)row->n);
            }
        }
        if (row->n > 0) {
            im_str_add_c(out, "imago_request_seconds_sum{");
            put_labels(out, i);
            im_str_addf(out, "} %.6f\nimago_request_seconds_count{", row->seconds);
            put_labels(out, i);
            im_str_addf(out, "} %llu\n", (unsigned long long)row->n);
        }
    }
}

static void put_value(im_str *out, const char *name, const char *type, const char *help,
                      uint64_t value)
{
    im_str_addf(out, "# HELP %s %s\n# TYPE %s %s\n%s %llu\n", name, help, name, type, name,
                (unsigned long long)value);
}

void metrics_write(const server *s, im_str *out)
{
    work_facts facts;
    work_look(s->work, &facts);
    put_requests(&s->metrics, out);
    put_latencies(&s->metrics, out);
    put_value(out, "imago_connections", "gauge", "Connections that are open.", s->n_connections);
    put_value(out, "imago_connections_total", "counter", "Connections taken.", s->metrics.accepted);
    put_value(out, "imago_connections_refused_total", "counter",
              "Connections turned away above the limit.", s->metrics.turned_away);
    put_value(out, "imago_queue_waiting", "gauge", "Requests that wait for the library.",
              facts.waiting);
    put_value(out, "imago_library_calls_total", "counter",
              "Calls of the library; searches that waited share one.", facts.calls);
    put_value(out, "imago_library_requests_total", "counter", "Requests these calls answered.",
              facts.answered);
    put_value(out, "imago_items", "gauge", "Pictures of the library.", facts.items);
    put_value(out, "imago_index_rows", "gauge", "Pictures that searches can find.", facts.vectors);
    put_value(out, "imago_items_without_vector", "gauge", "Pictures that searches cannot find yet.",
              facts.items > facts.vectors ? facts.items - facts.vectors : 0);
    jobs_facts jobs_now;
    jobs_look(s->jobs, &jobs_now);
    put_value(out, "imago_jobs_waiting", "gauge", "Jobs that wait.", jobs_now.waiting);
    put_value(out, "imago_jobs_running", "gauge", "Jobs that run.", jobs_now.running);
    put_value(out, "imago_ready", "gauge", "1 when searches are answered.",
              facts.warm && facts.trouble.code == IM_OK && facts.busy_ms <= DAEMON_STUCK_MS);
}
