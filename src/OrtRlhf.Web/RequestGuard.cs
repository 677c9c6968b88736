using System.Net;
using System.Security.Cryptography;
using System.Text;
using Microsoft.AspNetCore.Http;

namespace OrtRlhf.Web;

/// <summary>
/// Who may ask. Without a token only this machine, under a loopback name (so that no site whose name was made to point here gets in); with
/// one whoever has it, in a cookie set by
/// the link <c>/?token=...</c> or as a bearer. Requests that change something must come from our own page: of the same origin, with a
/// header that no other site can send.
/// </summary>
/// <param name="token">The token; null where only loopback is served.</param>
internal sealed class RequestGuard(string? token)
{
    /// <summary>The header of our own page's requests.</summary>
    public const string Header = "X-OrtRlhf";

    private const string Cookie = "ortrlhf-token", Query = "token";

    /// <summary>Refuses, or lets pass.</summary>
    public async Task Invoke(HttpContext context, RequestDelegate next)
    {
        var (request, response) = (context.Request, context.Response);
        response.Headers.ContentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
            + "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
        response.Headers.XContentTypeOptions = "nosniff";
        response.Headers["Referrer-Policy"] = "no-referrer";
        response.Headers["Cross-Origin-Resource-Policy"] = "same-origin";
        response.Headers.CacheControl = "no-store";
        if (token is null && !IsLoopback(request.Host.Host)) await Refuse(context, 403, "this server answers to localhost only");
        else if (token is not null && request.Path == "/" && request.Query[Query] is [{ } given])
        {
            if (!IsToken(given)) await Refuse(context, 401, "the link's token is wrong; ask for a new link");
            else
            {
                // The page itself, not a redirect: behind a link on another site a browser would not send the new cookie along.
                response.Cookies.Append(Cookie, given,
                    new CookieOptions { HttpOnly = true, SameSite = SameSiteMode.Strict, MaxAge = TimeSpan.FromDays(30) });
                await next(context);
            }
        }
        else if (token is not null && !IsToken(request.Cookies[Cookie])
            && !IsToken(request.Headers.Authorization.ToString() is ['B', 'e', 'a', 'r', 'e', 'r', ' ', .. var bearer] ? bearer : null))
            await Refuse(context, 401, "open the link with the token that 'ortrlhf label' printed");
        else if (!HttpMethods.IsGet(request.Method) && !IsOwn(request)) await Refuse(context, 403,
            "refused: the request does not come from this server's own page");
        else await next(context);
    }

    /// <summary>Answers with one line of text.</summary>
    public static Task Refuse(HttpContext context, int status, string line)
    {
        context.Response.StatusCode = status;
        context.Response.ContentType = "text/plain; charset=utf-8";
        return context.Response.WriteAsync(line);
    }

    private static bool IsLoopback(string host) =>
        host is "localhost" || (IPAddress.TryParse(host.Trim('[', ']'), out var address) && IPAddress.IsLoopback(address));

    private static bool IsOwn(HttpRequest request) =>
        request.Headers.ContainsKey(Header) && request.HasJsonContentType()
        && request.Headers["Sec-Fetch-Site"].ToString() is "" or "same-origin"
        && (request.Headers.Origin.ToString() is not { Length: > 0 } origin
            || (Uri.TryCreate(origin, UriKind.Absolute, out var from) && from.Authority == request.Host.Value));

    private bool IsToken(string? given) => given is not null && CryptographicOperations.FixedTimeEquals(
        SHA256.HashData(Encoding.UTF8.GetBytes(given)), SHA256.HashData(Encoding.UTF8.GetBytes(token!)));
}
