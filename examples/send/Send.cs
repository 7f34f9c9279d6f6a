// Sends events to a Lakegate gateway: one per line on standard input. Copy `Send` and `Post` into your own service.
// It runs in .NET 8 and in Mono:
//   mcs -r:System.Net.Http.dll -r:System.Runtime.Serialization.dll Send.cs
//   LAKEGATE_URL=https://localhost:8443/v1/events LAKEGATE_KEY=dev mono Send.exe < events.ndjson > unsent.ndjson
using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Net.Http;
using System.Runtime.Serialization;
using System.Runtime.Serialization.Json;
using System.Text;
using System.Threading.Tasks;

// The fields have the names of the answer's members; the serializer fills them.
#pragma warning disable 0649
[DataContract] class Fault { [DataMember] public string code, pointer; }
[DataContract] class Result { [DataMember] public int index; [DataMember] public string event_uuid, status; [DataMember] public Fault error; }
[DataContract] class Answer { [DataMember] public int accepted, duplicates, rejected, retry; [DataMember] public List<Result> results; }
#pragma warning restore 0649

static class Sender
{
    const int BATCH = 500, TRIES = 10;
    // The answers that have the counts and `results`.
    static readonly int[] settled = { 200, 202, 207, 422 };
    static readonly HttpClient client = new HttpClient { Timeout = TimeSpan.FromSeconds(30) };
    static readonly DataContractJsonSerializer json = new DataContractJsonSerializer(typeof(Answer));
    static readonly Random random = new Random();
    static int accepted, duplicates, rejected;

    static async Task<HttpResponseMessage> Post(List<string> lines)
    {
        var request = new HttpRequestMessage(HttpMethod.Post, Environment.GetEnvironmentVariable("LAKEGATE_URL"));
        request.Headers.Add("Authorization", "Bearer " + Environment.GetEnvironmentVariable("LAKEGATE_KEY"));
        request.Content = new StringContent(string.Join("\n", lines), Encoding.UTF8, "application/x-ndjson");
        return await client.SendAsync(request);
    }

    static Answer Read(byte[] body, int events)
    {
        var answer = (Answer)json.ReadObject(new MemoryStream(body));
        if (answer?.results == null || answer.accepted + answer.duplicates + answer.rejected + answer.retry != events)
            throw new SerializationException("the counts are not those of this request");
        return answer;
    }

    // Sends until every event is settled, at most TRIES times. Gives what is left: keep it, and send it later.
    static async Task<List<string>> Send(List<string> lines)
    {
        var wait = 0.5;
        for (var attempt = 0; attempt < TRIES; attempt++, wait = Math.Min(2 * wait, 60))
        {
            var pause = TimeSpan.Zero;
            try
            {
                var response = await Post(lines);
                var status = (int)response.StatusCode;
                pause = response.Headers.RetryAfter?.Delta ?? pause;
                var body = await response.Content.ReadAsByteArrayAsync();
                if (settled.Contains(status))
                {
                    var answer = Read(body, lines.Count);
                    accepted += answer.accepted;
                    duplicates += answer.duplicates;
                    rejected += answer.rejected;
                    foreach (var result in answer.results.Where(result => result.status == "rejected"))
                        Console.Error.WriteLine($"rejected: {result.error.code} {result.error.pointer} {result.event_uuid}");
                    lines = answer.results.Where(result => result.status == "retry").Select(result => lines[result.index]).ToList();
                    if (lines.Count == 0) return lines;
                }
                else if (status == 413 && lines.Count > 1)
                {
                    var half = lines.Count / 2;
                    return (await Send(lines.Take(half).ToList())).Concat(await Send(lines.Skip(half).ToList())).ToList();
                }
                else if (status != 408 && status != 429 && status < 500)
                {
                    Console.Error.WriteLine($"the request is wrong: {status} {Encoding.UTF8.GetString(body)}");
                    return lines;
                }
            }
            catch (Exception error) when (error is HttpRequestException || error is IOException ||
                                          error is TaskCanceledException || error is SerializationException)
            {
                Console.Error.WriteLine("no answer that can be read: " + error.Message);
            }
            await Task.Delay(pause + TimeSpan.FromSeconds(wait * random.NextDouble()));
        }
        return lines;
    }

    static void Main()
    {
        var lines = Console.In.ReadToEnd().Split('\n').Select(line => line.Trim()).Where(line => line != "").ToList();
        var unsent = new List<string>();
        for (var start = 0; start < lines.Count; start += BATCH)
            unsent.AddRange(Send(lines.Skip(start).Take(BATCH).ToList()).GetAwaiter().GetResult());
        unsent.ForEach(Console.WriteLine);
        Console.Error.WriteLine($"accepted {accepted}, duplicates {duplicates}, rejected {rejected}, unsent {unsent.Count}");
    }
}
