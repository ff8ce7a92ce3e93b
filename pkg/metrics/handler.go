// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"fmt"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Handler answers scrapes with the Source's figures and the daemon process's own (CPU, memory, files). Scrapes run
// one at a time: a second one that comes meanwhile is refused with 503, so that nobody can make the daemon
// read its maps all day.
func Handler(src Source, log *slog.Logger) (http.Handler, error) {
	reg := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{
		NewCollector(src),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		ErrorLog:            scrapeLog{log},
		ErrorHandling:       promhttp.HTTPErrorOnError,
		MaxRequestsInFlight: 1,
		Timeout:             2 * scrapeTimeout,
	}), nil
}

// scrapeLog gives promhttp's complaints to the daemon's log.
type scrapeLog struct{ log *slog.Logger }

// Println logs one failed scrape.
func (l scrapeLog) Println(v ...any) { l.log.Warn("scrape failed", "err", fmt.Sprint(v...)) }
