/* daemon/metrics.c — counters of the server's thread, written as Prometheus reads them. */
#include "base/clock.h"
#include "daemon/daemon_internal.h"

#include <string.h>

static const int statuses[METRICS_STATUSES] = {
    200, 201, 202, 204, 206, 304, 400, 401, 403, 404, 405, 408, 409, 412, 413, 414,
    415, 416, 417, 421, 422, 429, 431, 500, 501, 502, 503, 504, 505, 507, 0};
const double histogram_seconds[HISTOGRAM_BUCKETS] = {.001, .0025, .005, .01, .025, .05, .1,
                                                     .25,  .5,    1,    2.5, 5,    10};

void histogram_add(histogram *h, const double *bounds, double value)
{
    h->n++;
    h->sum += value;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        h->buckets[i] += value <= bounds[i];
    }
}

void metrics_count(metrics *m, const exchange *ex)
{
    metrics_row *row = &m->rows[ex->route != NULL ? (size_t)ex->route->id : (size_t)ROUTE_COUNT];
    double seconds = im_clock_ms_since(ex->start_ns) / 1000;
    size_t status = 0;
    while (status < METRICS_STATUSES - 1 && statuses[status] != ex->status) {
        status++;
    }
    row->statuses[status]++;
    histogram_add(&row->seconds, histogram_seconds, seconds);
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

/* The lines of one histogram; labels is "" or "a=\"b\",". */
static void put_histogram(im_str *out, const char *name, const char *labels, const double *bounds,
                          const histogram *h)
{
    size_t n_labels = strlen(labels);
    int n = n_labels > 0 ? (int)n_labels - 1 : 0; /* without the comma */
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        im_str_addf(out, "%s_bucket{%sle=\"%g\"} %llu\n", name, labels, bounds[i],
                    (unsigned long long)h->buckets[i]);
    }
    im_str_addf(out, "%s_bucket{%sle=\"+Inf\"} %llu\n", name, labels, (unsigned long long)h->n);
    im_str_addf(out, n > 0 ? "%s_sum{%.*s} %.6f\n" : "%s_sum%.*s %.6f\n", name, n, labels, h->sum);
    im_str_addf(out, n > 0 ? "%s_count{%.*s} %llu\n" : "%s_count%.*s %llu\n", name, n, labels,
                (unsigned long long)h->n);
}

static void put_head(im_str *out, const char *name, const char *type, const char *help)
{
    im_str_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_latencies(const metrics *m, im_str *out)
{
    put_head(out, "imago_request_seconds", "histogram", "From a head's last byte to its answer.");
    for (size_t i = 0; i <= ROUTE_COUNT; i++) {
        im_str labels;
        im_str_init(&labels, 256);
        put_labels(&labels, i);
        im_str_add_char(&labels, ',');
        if (m->rows[i].seconds.n > 0) {
            put_histogram(out, "imago_request_seconds", im_str_text(&labels), histogram_seconds,
                          &m->rows[i].seconds);
        }
        out->failed = out->failed || labels.failed;
        im_str_clear(&labels);
    }
}

static void put_one(im_str *out, const char *name, const char *help, const double *bounds,
                    const histogram *h)
{
    put_head(out, name, "histogram", help);
    put_histogram(out, name, "", bounds, h);
}

static void put_value(im_str *out, const char *name, const char *type, const char *help,
                      uint64_t value)
{
    put_head(out, name, type, help);
    im_str_addf(out, "%s %llu\n", name, (unsigned long long)value);
}

static void put_audit(im_str *out, const im_library_facts *facts)
{
    static const char *const kinds[2] = {"texts", "pictures"};
    if (facts->audited_at <= 0) { /* no number is better than a wrong one */
        return;
    }
    put_head(out, "imago_audit_recall", "gauge", "Recall of the last `imago audit`, by queries.");
    for (size_t i = 0; i < 2; i++) {
        if (facts->recall[i] >= 0) {
            im_str_addf(out, "imago_audit_recall{queries=\"%s\",engine=\"%s\"} %.6f\n", kinds[i],
                        facts->audited_engine, facts->recall[i]);
        }
    }
    put_value(out, "imago_audit_timestamp_seconds", "gauge", "When that audit was.",
              (uint64_t)facts->audited_at);
}

/* Gauges: a day's ceilings count the same. */
static void put_vlm(im_str *out, const im_library_facts *facts)
{
    put_value(out, "imago_vlm_sends_today", "gauge",
              "Sends to the vision-language model since midnight UTC.", facts->vlm_sends);
    put_value(out, "imago_vlm_tokens_today", "gauge", "Tokens of these, as counted or expected.",
              facts->vlm_tokens);
    put_head(out, "imago_vlm_cost_today", "gauge", "What they cost, in the unit of the prices.");
    im_str_addf(out, "imago_vlm_cost_today %.9f\n", (double)facts->vlm_cost_nano * 1e-9);
}

static void put_library(im_str *out, const im_library_facts *facts)
{
    uint64_t without = facts->items > facts->vectors ? facts->items - facts->vectors : 0;
    put_value(out, "imago_items", "gauge", "Pictures of the library.", facts->items);
    put_value(out, "imago_items_without_vector", "gauge",
              "Pictures that searches by likeness cannot find yet.", without);
    put_value(out, "imago_index_rows", "gauge", "Pictures that searches can find.", facts->vectors);
    put_value(out, "imago_index_bytes", "gauge", "Vectors of the index, removed ones too.",
              facts->index_bytes);
    put_value(out, "imago_database_bytes", "gauge", "Database with its log.",
              facts->database_bytes);
    put_audit(out, facts);
    put_vlm(out, facts);
}

/* Of both threads that have a library. */
static void put_work(im_str *out, const char *name, const char *help, size_t reading,
                     size_t changing)
{
    put_head(out, name, "gauge", help);
    im_str_addf(out, "%s{thread=\"reading\"} %zu\n%s{thread=\"changing\"} %zu\n", name, reading,
                name, changing);
}

static void put_watch(const server *s, im_str *out)
{
    watch_facts facts;
    watch_look(s->watch, &facts);
    put_head(out, "imago_watch_roots", "gauge", "Added folders that are followed, by how.");
    im_str_addf(out,
                "imago_watch_roots{how=\"told\"} %llu\nimago_watch_roots{how=\"polled\"} %llu\n"
                "imago_watch_roots{how=\"lost\"} %llu\n",
                (unsigned long long)facts.told, (unsigned long long)facts.polled,
                (unsigned long long)facts.lost);
    put_value(out, "imago_watch_folders", "gauge", "Folders whose changes the system tells.",
              facts.folders);
    put_value(out, "imago_watch_pending", "gauge", "Changed paths that wait.", facts.pending);
    put_value(out, "imago_watch_events_total", "counter", "Events that the system told.",
              facts.events);
    put_value(out, "imago_watch_overflows_total", "counter",
              "Times that more had changed than could be kept.", facts.overflows);
    put_value(out, "imago_watch_rescans_total", "counter", "Jobs that walk a followed folder.",
              facts.rescans);
    put_value(out, "imago_watch_polls_total", "counter", "Looks through polled folders.",
              facts.polls);
    put_value(out, "imago_watch_batches_total", "counter", "Jobs made of changes.", facts.batches);
    put_value(out, "imago_watch_paths_total", "counter", "Changed paths handed to jobs.",
              facts.paths);
}

void metrics_write(const server *s, im_str *out)
{
    work_facts facts;
    work_facts changing;
    work_look(s->work, &facts);
    work_look(s->writer, &changing);
    put_requests(&s->metrics, out);
    put_latencies(&s->metrics, out);
    put_value(out, "imago_connections", "gauge", "Connections that are open.", s->n_connections);
    put_value(out, "imago_connections_accepted_total", "counter", "Connections taken.",
              s->metrics.accepted);
    put_value(out, "imago_connections_refused_total", "counter",
              "Connections turned away above the limit.", s->metrics.turned_away);
    put_value(out, "imago_log_lines_lost_total", "counter",
              "Lines of the log that nobody read in time.", s->metrics.lost_lines);
    put_work(out, "imago_queue_waiting", "Requests that wait for the library.", facts.waiting,
             changing.waiting);
    put_value(out, "imago_queue_limit", "gauge", "Requests that may wait for each of them.",
              DAEMON_MOST_WAITING);
    put_value(out, "imago_library_calls_total", "counter",
              "Calls of the library; searches that waited share one.", facts.calls);
    put_value(out, "imago_library_requests_total", "counter", "Requests these calls answered.",
              facts.answered);
    put_one(out, "imago_batch_requests", "Requests of a call.", batch_bounds, &facts.batches);
    put_one(out, "imago_encode_seconds", "Time in the model, by query or request.",
            histogram_seconds, &facts.encode);
    put_one(out, "imago_search_seconds", "Time in the index, by query.", histogram_seconds,
            &facts.search);
    put_library(out, &facts.library);
    jobs_facts jobs_now;
    jobs_look(s->jobs, &jobs_now);
    put_value(out, "imago_jobs_waiting", "gauge", "Jobs that wait.", jobs_now.waiting);
    put_value(out, "imago_jobs_running", "gauge", "Jobs that run.", jobs_now.running);
    put_watch(s, out);
    put_value(out, "imago_ready", "gauge", "1 when searches are answered.",
              facts.warm && facts.trouble.code == IM_OK && facts.busy_ms <= DAEMON_STUCK_MS);
}
